---
description: Each customer's day
partition_by: day
checks:
  - unique: [day, customer]
  - range: { column: denied_share, min: 0, max: 0.5, severity: warn }   # told, and no reason to stop
owner: data@example.org
---
select day, customer, sum(requests) as requests, sum(denied) as denied, sum(denied) * 1.0 / sum(requests) as denied_share
from {{ ref('ten_minutes') }}
group by 1, 2
