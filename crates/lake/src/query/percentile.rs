//! `percentile_cont`, exact: DataFusion's rounds the place between two values to a millionth.

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature};
use datafusion::physical_expr::expressions::Literal;
use std::sync::Arc;

/// Takes the place of DataFusion's.
pub fn exact() -> AggregateUDF {
    AggregateUDF::new_from_impl(PercentileCont(percentile_cont_udaf()))
}

/// The value below which a part `p` of the sorted values lies, between two of them by a straight line; `None` without values. (Hyndman and Fan, 1996, type 7.)
pub fn interpolated(values: &mut [f64], p: f64) -> Option<f64> {
    let (lower, part) = place(values.len() as u64, p)?;
    let (_, &mut low, above) = values.select_nth_unstable_by(lower as usize, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    Some(between(low, high, part))
}

/// Which of `n` sorted values, from 0, lies below, and how far it is from there to the next.
pub fn place(n: u64, p: f64) -> Option<(u64, f64)> {
    let last = n.checked_sub(1)?;
    let at = p * last as f64;
    let lower = (at.floor() as u64).min(last);
    Some((lower, at - lower as f64))
}

pub fn between(low: f64, high: f64, part: f64) -> f64 {
    if part == 0.0 { low } else { low + (high - low) * part }
}

/// The library's names and signature, and values of our own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileCont(Arc<AggregateUDF>);

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
        Ok(vec![Arc::new(Field::new(format!("{}[values]", args.name), values, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values { of: Groups { values: vec![Vec::new()], p: percentile(&args)? }, distinct: args.is_distinct }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { values: Vec::new(), p: percentile(&args)? }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

fn percentile(args: &AccumulatorArgs) -> Result<f64> {
    let value = args.exprs.get(1).and_then(|expr| expr.downcast_ref::<Literal>()).map(|literal| literal.value().clone());
    match value.map(|value| value.cast_to(&DataType::Float64)) {
        Some(Ok(ScalarValue::Float64(Some(p)))) if (0.0..=1.0).contains(&p) => {
            let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
            Ok(if descending { 1.0 - p } else { p })
        }
        _ => plan_err!("`percentile_cont` takes a number from 0 to 1 that is written out"),
    }
}

struct Groups {
    values: Vec<Vec<f64>>,
    p: f64,
}

impl GroupsAccumulator for Groups {
    fn update_batch(&mut self, arrays: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, n: usize) -> Result<()> {
        self.values.resize(n, Vec::new());
        let array = arrow_cast::cast(&arrays[0], &DataType::Float64)?;
        let array: &Float64Array = array.as_primitive::<Float64Type>();
        let taken = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        for (row, group) in groups.iter().enumerate() {
            if array.is_valid(row) && taken(row) {
                self.values[*group].push(array.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], n: usize) -> Result<()> {
        self.values.resize(n, Vec::new());
        for (group, values) in groups.iter().zip(states[0].as_list::<i32>().iter()) {
            if let Some(values) = values {
                self.values[*group].extend_from_slice(values.as_primitive::<Float64Type>().values());
            }
        }
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut list = ListBuilder::new(Float64Builder::new());
        for values in emit_to.take_needed(&mut self.values) {
            list.values().append_slice(&values);
            list.append(true);
        }
        Ok(vec![Arc::new(list.finish())])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut groups = emit_to.take_needed(&mut self.values);
        Ok(Arc::new(groups.iter_mut().map(|values| interpolated(values, self.p)).collect::<Float64Array>()))
    }

    fn convert_to_state(&self, arrays: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Groups { values: Vec::new(), p: self.p };
        let rows = arrays[0].len();
        each.update_batch(arrays, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.values.iter().map(|values| values.capacity() * 8 + size_of::<Vec<f64>>()).sum()
    }
}

/// Of one group.
struct Values {
    of: Groups,
    distinct: bool,
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

impl Values {
    fn leave_twins_out(&mut self) {
        if self.distinct {
            self.of.values[0].sort_unstable_by(f64::total_cmp);
            self.of.values[0].dedup();
        }
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        self.of.update_batch(arrays, &vec![0; arrays[0].len()], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.of.merge_batch(states, &vec![0; states[0].len()], 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.leave_twins_out();
        let state = self.of.state(EmitTo::All)?;
        self.of.values.push(Vec::new());
        Ok(vec![ScalarValue::try_from_array(&state[0], 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.leave_twins_out();
        Ok(ScalarValue::Float64(interpolated(&mut self.of.values[0], self.of.p)))
    }

    fn size(&self) -> usize {
        self.of.size()
    }
}
