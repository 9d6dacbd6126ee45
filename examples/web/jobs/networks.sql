---
description: Who comes from which network, and how often it is turned away
partition_by: day
checks:
  - not_null: { columns: network, severity: warn, at_most: 5% }
---
select cast(event_time as date) as day, ip_name as network,
       count(*) as requests, count(distinct ip) as addresses, count(*) filter (where decision = 'deny') as denied
from {{ ref('requests') }}
group by 1, 2
