//! Rows into a PostgreSQL table, each once: a block goes by COPY into a temporary table and from there by id into the table, in one transaction.

mod rows;
mod table;

use super::ID;
use arrow_schema::SchemaRef;
use ouzel_core::clock::Stopwatch;
use ouzel_core::{Encode, Encoded, Error, Rejected, Report, Result, Secret, Sink, Spanned, Which};
use rows::RowEncoder;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::time::Duration;
use table::Table;
use tokio::runtime::Runtime;

/// Rows in a table of a PostgreSQL database.
///
/// ```yaml
/// postgres: { url: "${PG_URL}", table: alerts }
/// ```
///
/// The column `_id` is always there, beside those of `columns`; rows are told apart by it, so that one that comes again is not written again. The table is made if it does not exist, with
/// `bigint`, `double precision`, `boolean`, `text`, `timestamptz`, `date`, `numeric`, and `jsonb` for lists and structs; one that exists needs these columns and a unique
/// index on `_id`. Rows that the database refuses for what they hold are dead-lettered, the others are written. A database that does not answer is tried again for a minute,
/// then the run stops; run again, it goes on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSink {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require`
    pub url: Spanned<Secret>,
    /// `NAME` or `SCHEMA.NAME`.
    pub table: Spanned<String>,
    /// Whole rows as `jsonb` documents in this column, instead of a column each.
    #[serde(default)]
    pub document: Option<Spanned<String>>,
}

impl PostgresSink {
    pub fn validate(&self, report: &mut Report) {
        // The parser's words could show a password.
        if !self.url.expose().is_empty() && self.options().is_err() {
            report
                .error(self.url.span, "this is no URL of a PostgreSQL database")
                .hint("postgres://USER:PASSWORD@HOST:PORT/DATABASE");
        }
        if self.table.is_empty() || self.table.split('.').any(str::is_empty) || self.table.split('.').count() > 2 {
            report.error(self.table.span, format!("`{}` is no name of a table", *self.table)).hint("NAME or SCHEMA.NAME");
        }
        if let Some(document) = self.document.as_ref().filter(|d| d.is_empty() || d.value == ID) {
            report.error(document.span, format!("`{}` cannot be the column of documents", document.value));
        }
    }

    /// Connects, and makes the table if it is not there. `schema` has the column `_id`.
    pub fn open(self, schema: SchemaRef) -> Result<Box<dyn Sink>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::internal(e.to_string()))?;
        let table = Table::new(&self.table, &schema, self.document.as_ref().map(|d| d.value.as_str()))?;
        let mut writer =
            PostgresWriter { options: self.options()?, table, schema, runtime, connection: None, rejected: Vec::new() };
        writer.patiently(|writer| writer.prepare_table())?;
        Ok(Box::new(writer))
    }

    fn options(&self) -> Result<PgConnectOptions> {
        let options = self.url.expose().parse::<PgConnectOptions>();
        options.map_err(|_| {
            Error::config("the `url` is no URL of a PostgreSQL database: postgres://USER:PASSWORD@HOST:PORT/DATABASE")
        })
    }
}

struct PostgresWriter {
    options: PgConnectOptions,
    table: Table,
    schema: SchemaRef,
    runtime: Runtime,
    connection: Option<PgConnection>,
    rejected: Vec<Rejected>,
}

/// Tried again for so long where it may help.
const PATIENCE_S: f64 = 60.0;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Sink for PostgresWriter {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(Box::new(RowEncoder::new(&self.schema, self.table.is_of_documents())))
    }

    fn write(&mut self, block: Encoded, _upto: u64) -> Result<()> {
        let Encoded::Bytes { data, .. } = block else { return Err(Error::internal("PostgreSQL takes encoded rows")) };
        let rows: Vec<&[u8]> = data.split_inclusive(|b| *b == b'\n').collect();
        self.rejected.clear();
        self.write_rows(&rows, 0)
    }

    fn rejected(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.rejected)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(connection) = self.connection.take() {
            // Everything is committed: how the connection ends is of no account.
            let _ = self.runtime.block_on(connection.close());
        }
        Ok(())
    }

    fn location(&self) -> String {
        format!("PostgreSQL {}/{}, table {}", self.options.get_host(), self.options.get_database().unwrap_or(""), self.table.name)
    }
}

impl PostgresWriter {
    /// Writes rows, of which the first is this one of its block; where the database refuses some for what they hold, all but those.
    fn write_rows(&mut self, rows: &[&[u8]], first: usize) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let data = rows.concat();
        match self.patiently(|writer| writer.insert(&data))? {
            None => Ok(()),
            Some(reason) if rows.len() == 1 => {
                self.rejected.push(Rejected { which: Which::Row(first), reason });
                Ok(())
            }
            Some(_) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.write_rows(left, first)?;
                self.write_rows(right, first + left.len())
            }
        }
    }

    /// Writes rows in one transaction. Gives what the database has against them.
    fn insert(&mut self, data: &[u8]) -> Result<Option<String>, sqlx::Error> {
        let Self { runtime, connection, options, table, .. } = self;
        let written = runtime.block_on(in_time(async {
            let connection = match connection {
                Some(connection) => connection,
                None => connection.insert(connect(options, table).await?),
            };
            connection.execute("begin").await?;
            let mut copy = connection.copy_in_raw(&table.copy).await?;
            copy.send(data).await?;
            copy.finish().await?;
            connection.execute(AssertSqlSafe(table.insert.clone())).await?;
            connection.execute("commit").await?;
            Ok(())
        }));
        match written {
            Ok(()) => Ok(None),
            Err(e) => match refused(&e) {
                None => Err(e),
                Some(reason) => {
                    let connection = connection.as_mut();
                    let undone = connection.map(|connection| runtime.block_on(async { connection.execute("rollback").await }));
                    undone.transpose().map(|_| Some(reason))
                }
            },
        }
    }

    fn prepare_table(&mut self) -> Result<(), sqlx::Error> {
        let Self { runtime, connection, options, table, .. } = self;
        runtime.block_on(in_time(async {
            let mut bare = PgConnection::connect_with(options).await?;
            // Who may only insert needs no right to create.
            let there: bool = sqlx::query_scalar(AssertSqlSafe(table.exists.clone())).fetch_one(&mut bare).await?;
            if !there {
                bare.execute(AssertSqlSafe(table.create.clone())).await?;
            }
            bare.close().await?;
            *connection = Some(connect(options, table).await?);
            Ok(())
        }))
    }

    /// Tries again while the database does not answer. What is done again is done by id: it changes nothing.
    fn patiently<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T, sqlx::Error>) -> Result<T> {
        let (started, mut wait) = (Stopwatch::start(), FIRST_WAIT);
        loop {
            let error = match attempt(self) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            self.connection = None;
            if !may_pass(&error) || started.seconds() > PATIENCE_S {
                return Err(Error::unavailable(described(&error)).context(format!("writing to {}", self.location())));
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// A server that is gone without a word is noticed.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let done = tokio::time::timeout(Duration::from_secs_f64(PATIENCE_S), work).await;
    done.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Connects and makes the temporary table that rows go through.
async fn connect(options: &PgConnectOptions, table: &Table) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute("set client_min_messages = warning").await?;
    connection.execute(AssertSqlSafe(table.stage.clone())).await?;
    Ok(connection)
}

/// What the database has against the rows themselves (SQLSTATE classes 22, data exception, and 23, integrity constraint violation; a program limit in 54).
fn refused(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    let code = error.code()?;
    ["22", "23", "54"].iter().any(|class| code.starts_with(class)).then(|| format!("PostgreSQL: {} ({code})", error.message()))
}

/// Whether it may be gone when tried again: the network, a server that starts, stops or is out of something, a deadlock.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => true,
        error => error
            .as_database_error()
            .and_then(|e| e.code())
            .is_some_and(|code| ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))),
    }
}

fn described(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => match error.code().as_deref() {
            Some("42P10") => format!(
                "{}: the table needs a unique index on `{ID}`, as by `alter table ... add primary key ({ID})`",
                error.message()
            ),
            Some("42703") => format!("{}: add it with `alter table ... add column`, or choose other `columns`", error.message()),
            code => format!("{} ({})", error.message(), code.unwrap_or("no code")),
        },
        None => error.to_string(),
    }
}
