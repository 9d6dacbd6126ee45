---
write: append
unique_key: request_id
partition_by: event_date
description: Each request once, as it came first.
---
select *, cast(event_time as date) as event_date
from {{ source('landing') }}
