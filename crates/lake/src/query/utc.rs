//! `date_trunc` of times in UTC, which is what tables hold: by arithmetic, as DataFusion does it for times without a zone. Its own way for times with one
//! goes through the calendar, value by value.

use arrow_schema::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use std::sync::Arc;

/// Takes the place of DataFusion's.
pub fn trunc() -> ScalarUDF {
    ScalarUDF::new_from_impl(DateTrunc(date_trunc()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc(Arc<ScalarUDF>);

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of = args.args[1].data_type();
        let DataType::Timestamp(unit, Some(zone)) = &of else { return self.0.invoke_with_args(args) };
        if !matches!(zone.as_ref(), "UTC" | "+00:00" | "Z") {
            return self.0.invoke_with_args(args);
        }
        // The same numbers, without their zone and with it again.
        let plain = DataType::Timestamp(*unit, None);
        let as_type = |value: ColumnarValue, of: &DataType| match value {
            ColumnarValue::Array(array) => {
                let data = array.to_data().into_builder().data_type(of.clone()).build()?;
                Ok::<_, datafusion::error::DataFusionError>(ColumnarValue::Array(arrow_array::make_array(data)))
            }
            scalar => Ok(scalar),
        };
        if matches!(args.args[1], ColumnarValue::Scalar(_)) {
            return self.0.invoke_with_args(args);
        }
        let array = std::mem::replace(&mut args.args[1], ColumnarValue::Scalar(datafusion::common::ScalarValue::Null));
        args.args[1] = as_type(array, &plain)?;
        args.arg_fields[1] = Arc::new(args.arg_fields[1].as_ref().clone().with_data_type(plain.clone()));
        args.return_field = Arc::new(args.return_field.as_ref().clone().with_data_type(plain));
        as_type(self.0.invoke_with_args(args)?, &of)
    }
}
