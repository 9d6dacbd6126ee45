//! A table, in SQL.

use crate::sinks::ID;
use arrow_schema::{DataType, Schema};
use ouzel_core::{Error, Result};

/// Statements for one table.
pub struct Table {
    pub name: String,
    pub create: String,
    /// Asks whether it is there.
    pub exists: String,
    /// Makes the temporary table that rows are copied into: empty at the end of each transaction.
    pub stage: String,
    pub copy: String,
    pub insert: String,
    is_of_documents: bool,
}

impl Table {
    /// `document`: rows are documents in this column.
    pub fn new(name: &str, schema: &Schema, document: Option<&str>) -> Result<Table> {
        if schema.index_of(ID).is_err() {
            return Err(Error::internal(format!("rows for PostgreSQL have no `{ID}`")));
        }
        let columns: Vec<(&str, &str)> = match document {
            Some(document) => vec![(ID, "text"), (document, "jsonb")],
            None => schema.fields().iter().map(|f| (f.name().as_str(), of_column(f.data_type()))).collect(),
        };
        let table = name.split('.').map(quoted).collect::<Vec<_>>().join(".");
        let names = columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ");
        let typed = |(name, of): &(&str, &str)| {
            let key = if *name == ID { " primary key" } else { "" };
            format!("{} {of}{key}", quoted(name))
        };
        let declared = columns.iter().map(typed).collect::<Vec<_>>().join(", ");
        Ok(Table {
            name: name.to_string(),
            exists: format!("select to_regclass('{}') is not null", table.replace('\'', "''")),
            create: format!("create table if not exists {table} ({declared})"),
            stage: format!(
                "create temporary table ouzel_stage on commit delete rows as select {names} from {table} with no data"
            ),
            copy: format!("copy ouzel_stage ({names}) from stdin"),
            insert: format!(
                "insert into {table} ({names}) select {names} from ouzel_stage on conflict ({}) do nothing",
                quoted(ID)
            ),
            is_of_documents: document.is_some(),
        })
    }

    pub fn is_of_documents(&self) -> bool {
        self.is_of_documents
    }
}

fn of_column(of: &DataType) -> &'static str {
    use DataType as D;
    match of {
        D::Boolean => "boolean",
        D::UInt64 | D::Decimal128(..) | D::Decimal256(..) => "numeric",
        of if of.is_integer() => "bigint",
        of if of.is_floating() => "double precision",
        D::Timestamp(_, Some(_)) => "timestamptz",
        D::Timestamp(_, None) => "timestamp",
        D::Date32 | D::Date64 => "date",
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) | D::Struct(_) | D::Map(..) => "jsonb",
        _ => "text",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;

    #[test]
    fn names_are_quoted_and_types_mapped() {
        let fields = vec![
            Field::new("_id", DataType::Utf8View, true),
            Field::new("a\"b", DataType::Int64, true),
            Field::new("day", DataType::Date32, true),
        ];
        let table = Table::new("s.t", &Schema::new(fields), None).expect("a table");
        assert_eq!(
            table.create,
            "create table if not exists \"s\".\"t\" (\"_id\" text primary key, \"a\"\"b\" bigint, \"day\" date)"
        );
        assert_eq!(table.copy, "copy ouzel_stage (\"_id\", \"a\"\"b\", \"day\") from stdin");
    }
}
