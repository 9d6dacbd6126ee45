---
partition_by: day
description: Requests of a customer on a day.
---
select event_date as day, customer, count(*) as total,
       count(*) filter (where decision = 'deny') as denied,
       count(*) filter (where decision = 'challenge') as challenged,
       count(distinct session) as sessions,
       percentile_cont(cast(bytes as double), 0.95) as p95_bytes
from {{ ref('clean') }}
group by 1, 2
