---
partition_by: day
description: Requests from a country in an hour.
---
select event_date as day, date_trunc('hour', event_time) as hour, country, count(*) as total,
       count(*) filter (where decision = 'deny') as denied,
       sum(bytes) as bytes_sum
from {{ ref('clean') }}
group by 1, 2, 3
