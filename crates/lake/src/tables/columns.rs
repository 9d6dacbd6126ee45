//! Arrow columns and the Delta columns they become.

use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel as delta;
use deltalake_core::kernel::PrimitiveType;
use ouzel_core::{Encode, Encoded, Error, Result};
use std::sync::Arc;

/// What a column is, in words: in the metadata of a field, here and in a Delta table.
pub const COMMENT: &str = "comment";

/// The columns of a sink as its table has them.
pub struct Columns {
    /// Arrow types that Parquet writes as the table's types. Everything may be null.
    pub schema: SchemaRef,
    pub delta: Vec<delta::StructField>,
    /// Positions of the partition columns, in the order of `partition_by`.
    pub partitions: Vec<usize>,
    /// Positions of the others: what data files hold.
    pub stored: Vec<usize>,
}

impl Columns {
    pub fn new(schema: &Schema, partition_by: &[String]) -> Result<Columns> {
        let fields = schema.fields().iter().map(|f| Field::new(f.name(), stored_type(f.data_type()), true)).collect::<Fields>();
        if let Some((from, _)) =
            schema.fields().iter().zip(&fields).find(|(from, to)| !arrow_cast::can_cast_types(from.data_type(), to.data_type()))
        {
            return Err(Error::config(format!("column `{}` of type `{}` cannot be in a table", from.name(), from.data_type())));
        }
        let delta = fields.iter().zip(schema.fields()).map(|(stored, own)| {
            let field = delta::StructField::nullable(stored.name(), delta_type(stored.name(), stored.data_type())?);
            let comment = own.metadata().get(COMMENT).map(|text| (COMMENT, text.clone()));
            Ok(field.add_metadata(comment))
        });
        let delta = delta.collect::<Result<Vec<_>>>()?;
        for (i, field) in fields.iter().enumerate() {
            check_name(field.name())?;
            if let Some(twin) = fields[..i].iter().find(|f| f.name().to_lowercase() == field.name().to_lowercase()) {
                return Err(Error::config(format!(
                    "columns `{}` and `{}` differ in case only, which a Delta table cannot have",
                    twin.name(),
                    field.name()
                )));
            }
        }
        let mut partitions = Vec::new();
        for name in partition_by {
            let Some((position, field)) = fields.find(name) else {
                return Err(Error::config(format!(
                    "`partition_by` names column `{name}`, which is not among the sink's columns"
                )));
            };
            if !can_partition(field.data_type()) {
                let message = format!(
                    "cannot partition by column `{name}` of type `{}`: use text, a whole number, a date or a boolean",
                    delta[position].data_type()
                );
                return Err(Error::config(message));
            }
            partitions.push(position);
        }
        let stored: Vec<usize> = (0..fields.len()).filter(|i| !partitions.contains(i)).collect();
        if stored.is_empty() {
            return Err(Error::config("a table needs a column that it is not partitioned by"));
        }
        Ok(Columns { schema: Arc::new(Schema::new(fields)), delta, partitions, stored })
    }

    pub fn partition_names(&self) -> Vec<&str> {
        self.partitions.iter().map(|&i| self.schema.field(i).name().as_str()).collect()
    }

    /// What data files hold.
    pub fn file_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.stored.iter().map(|&i| self.schema.fields()[i].clone()).collect::<Fields>()))
    }
}

/// Gives columns the table's types, on any thread.
pub struct ToTable {
    columns: Arc<Columns>,
}

impl ToTable {
    pub fn new(columns: Arc<Columns>) -> ToTable {
        ToTable { columns }
    }
}

impl Encode for ToTable {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded> {
        let fields = self.columns.schema.fields();
        if rows.num_columns() != fields.len() {
            return Err(Error::internal(format!("{} columns for a table of {}", rows.num_columns(), fields.len())));
        }
        let cast = |(array, field): (&ArrayRef, &Arc<Field>)| to_stored(array, field.data_type());
        let columns = rows.columns().iter().zip(fields).map(cast).collect::<Result<Vec<_>, ArrowError>>();
        let batch = columns.and_then(|columns| RecordBatch::try_new(self.columns.schema.clone(), columns));
        batch.map(Encoded::Rows).map_err(|e| Error::internal("columns do not fit the table").caused_by(e))
    }
}

/// A column with a type of [`stored_type`]. A time without a zone is one of UTC: its numbers stay, where a cast would look each of them up in the calendar.
fn to_stored(array: &ArrayRef, of: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), of) {
        (DataType::Timestamp(_, None), DataType::Timestamp(unit, Some(_))) => {
            let plain = arrow_cast::cast(array, &DataType::Timestamp(*unit, None))?;
            Ok(make_array(plain.to_data().into_builder().data_type(of.clone()).build()?))
        }
        _ => arrow_cast::cast(array, of),
    }
}

/// The nearest type that a Delta table has. Text stays a view: Parquet does not show the difference.
fn stored_type(of: &DataType) -> DataType {
    use DataType::*;
    let nested = |f: &Arc<Field>| Arc::new(Field::new(f.name(), stored_type(f.data_type()), true));
    match of {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Date32 | Utf8 | Utf8View | Binary | Decimal128(..) => {
            of.clone()
        }
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Float16 => Float32,
        Date64 => Date32,
        Timestamp(..) => Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Dictionary(_, values) => stored_type(values),
        List(item) | LargeList(item) | FixedSizeList(item, _) => List(nested(item)),
        Struct(fields) => Struct(fields.iter().map(nested).collect()),
        _ => Utf8,
    }
}

fn delta_type(column: &str, of: &DataType) -> Result<delta::DataType> {
    let bad = |e: &dyn std::fmt::Display| Error::config(format!("column `{column}` cannot be in a table: {e}"));
    let primitive = match of {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 => PrimitiveType::Byte,
        DataType::Int16 => PrimitiveType::Short,
        DataType::Int32 => PrimitiveType::Integer,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Date32 => PrimitiveType::Date,
        DataType::Timestamp(..) => PrimitiveType::Timestamp,
        DataType::Binary => PrimitiveType::Binary,
        DataType::Utf8 | DataType::Utf8View => PrimitiveType::String,
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).map_err(|e| bad(&e))?;
            PrimitiveType::decimal(*precision, scale).map_err(|e| bad(&e))?
        }
        DataType::List(item) => return Ok(delta::ArrayType::new(delta_type(column, item.data_type())?, true).into()),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|f| Ok(delta::StructField::nullable(f.name(), delta_type(column, f.data_type())?)));
            return delta::DataType::try_struct_type(fields.collect::<Result<Vec<_>>>()?).map_err(|e| bad(&e));
        }
        other => return Err(bad(&format!("its type is `{other}`"))),
    };
    Ok(primitive.into())
}

fn can_partition(of: &DataType) -> bool {
    use DataType::*;
    matches!(of, Utf8 | Utf8View | Int8 | Int16 | Int32 | Int64 | Date32 | Boolean)
}

/// Delta tables without column mapping cannot have these characters in names.
fn check_name(name: &str) -> Result<()> {
    match name.chars().find(|c| " ,;{}()\n\t=".contains(*c)) {
        Some(c) => Err(Error::config(format!("column `{name}` has {c:?} in its name, which a Delta table cannot have"))),
        None if name.is_empty() => Err(Error::config("a column of a Delta table needs a name")),
        None => Ok(()),
    }
}
