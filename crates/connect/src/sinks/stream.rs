//! Appends rows to a stream of the project, as JSON.

use super::NdjsonEncoder;
use super::cells::Cells;
use crate::log::{Appender, Busy, End, Opening, Writer};
use crate::streams::{StreamRef, Streams};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use ouzel_core::{Encode, Encoded, Error, Kind, Prepared, Result, Run, Sink};
use xxhash_rust::xxh3::xxh3_64;

/// A row is a record, its partition that of its key. What the log holds already is not written again: readers need not wait for commits.
pub struct StreamWriter {
    name: String,
    schema: SchemaRef,
    keyed: Option<Keyed>,
    appender: Appender,
    opening: Opening,
}

/// Which partition a row goes to.
#[derive(Debug, Clone, Copy)]
struct Keyed {
    column: usize,
    partitions: u32,
}

impl StreamWriter {
    /// `writer`: tells who writes from everyone else, for good. `position`: of its last commit.
    pub fn open(
        stream: &StreamRef,
        streams: &Streams,
        schema: SchemaRef,
        writer: Writer,
        position: Option<&str>,
        busy: Busy,
    ) -> Result<StreamWriter> {
        let name = stream.name();
        let settings = streams.get(name)?;
        let committed: End = match position {
            None => End::default(),
            Some(position) => serde_json::from_str(position)
                .map_err(|e| Error::new(Kind::Changed, format!("the state is of another kind of sink ({e})")))?,
        };
        let keyed = match &settings.key {
            Some(key) if settings.log.partitions > 1 => {
                let column = schema.index_of(key).map_err(|e| Error::config(e.to_string()))?;
                Some(Keyed { column, partitions: settings.log.partitions })
            }
            _ => None,
        };
        let (appender, opening) = Appender::open(&streams.folder_of(name), &settings.log, writer, &committed, busy)?;
        Ok(StreamWriter { name: name.to_string(), schema, keyed, appender, opening })
    }
}

impl Sink for StreamWriter {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        let rows = NdjsonEncoder::new(&self.schema);
        Ok(match self.keyed {
            Some(keyed) => Box::new(ByPartition { keyed, rows }),
            None => Box::new(rows),
        })
    }

    fn write(&mut self, block: Encoded, upto: u64) -> Result<()> {
        let (data, runs) = match block {
            Encoded::Bytes { data, rows } => {
                let run = Run { partition: 0, records: rows as u32, bytes: data.len() as u32 };
                (data, vec![run])
            }
            Encoded::Runs { data, runs } => (data, runs),
            Encoded::Rows(_) => return Err(Error::internal("a stream takes encoded rows")),
        };
        self.appender.append(&data, &runs, upto)?;
        Ok(())
    }

    fn prepare(&mut self, _offset: u64) -> Result<Prepared> {
        let end = self.appender.end();
        let position = serde_json::to_string(&end).map_err(|e| Error::internal(e.to_string()))?;
        let sync = self.appender.sync().clone();
        Ok(Prepared { position, sync: Some(Box::new(move || sync.wait(end.position))), publish: None })
    }

    fn holds(&self) -> u64 {
        self.opening.holds
    }

    fn notes(&self) -> Vec<String> {
        let Opening { cut, damaged, .. } = &self.opening;
        let torn = (*cut > 0).then(|| format!("stream {}: {cut} bytes at its end were half written and are cut off", self.name));
        let damage = damaged.iter().map(|(from, to)| {
            format!("stream {}: bytes {from} to {to} are damaged; readers pass over the records in them, and say so", self.name)
        });
        torn.into_iter().chain(damage).collect()
    }

    fn close(&mut self) -> Result<()> {
        self.appender.sync().wait(self.appender.end().position)
    }

    fn location(&self) -> String {
        format!("stream {}", self.name)
    }
}

struct ByPartition {
    keyed: Keyed,
    rows: NdjsonEncoder,
}

impl Encode for ByPartition {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded> {
        let Keyed { column, partitions } = self.keyed;
        let keys = Cells::new(rows.column(column))?;
        let Encoded::Bytes { data, .. } = self.rows.encode(rows)? else {
            return Err(Error::internal("rows of JSON are bytes"));
        };
        // A row of JSON has one line end, at its end.
        let mut runs: Vec<Run> = Vec::new();
        let (mut key, mut start) = (Vec::new(), 0);
        for (row, end) in memchr::memchr_iter(b'\n', &data).map(|at| at + 1).enumerate() {
            key.clear();
            keys.json(row, &mut key);
            let partition = (xxh3_64(&key) % u64::from(partitions)) as u32;
            let bytes = (end - start) as u32;
            match runs.last_mut() {
                Some(run) if run.partition == partition => (run.records, run.bytes) = (run.records + 1, run.bytes + bytes),
                _ => runs.push(Run { partition, records: 1, bytes }),
            }
            start = end;
        }
        Ok(Encoded::Runs { data, runs })
    }
}
