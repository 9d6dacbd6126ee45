---
description: Requests of each customer in each ten minutes
partition_by: day
checks:
  - not_empty
  - unique: [slot, customer]
  - sql: { name: denied_at_most_all, query: "select * from {{ this }} where denied > requests" }
owner: data@example.org
---
select cast(event_time as date) as day,
       date_bin(interval '10 minutes', event_time) as slot,
       customer,
       count(*) as requests,
       count(*) filter (where decision = 'deny') as denied,
       count(distinct session) as sessions,
       percentile_cont(bytes, 0.95) as bytes_p95
from {{ ref('requests') }}
group by 1, 2, 3
