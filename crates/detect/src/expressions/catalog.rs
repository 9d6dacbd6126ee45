//! The functions expressions may call.

use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    AggregateUDF, ColumnarValue, Expr, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableSource,
    Volatility, WindowUDF,
};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Knows all functions and no tables.
pub(super) struct Catalog {
    functions: HashMap<String, Arc<ScalarUDF>>,
    higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

pub(super) fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(Catalog::new)
}

impl Catalog {
    fn new() -> Catalog {
        let mut functions = HashMap::new();
        let known = Arc::new(ScalarUDF::from(Known { signature: Signature::any(1, Volatility::Immutable) }));
        let all = datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions())
            .chain([known]);
        for function in all {
            for alias in function.aliases() {
                functions.insert(alias.clone(), function.clone());
            }
            functions.insert(function.name().to_string(), function);
        }
        let mut higher_order = HashMap::new();
        for function in datafusion_functions_nested::all_default_higher_order_functions() {
            for alias in function.aliases() {
                higher_order.insert(alias.clone(), function.clone());
            }
            higher_order.insert(function.name().to_string(), function);
        }
        Catalog {
            functions,
            higher_order,
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
                Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            ],
            options: ConfigOptions::default(),
        }
    }

    /// Names of all functions, sorted, for hints.
    pub(super) fn function_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.functions.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("an expression cannot read the table `{name}`")
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }
    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.higher_order.get(name).cloned()
    }
    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }
    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }
    fn get_variable_type(&self, _: &[String]) -> Option<arrow_schema::DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &self.options
    }
    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        self.higher_order.keys().cloned().collect()
    }
    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// `known(feature)`: there was enough history for a value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Known {
    signature: Signature,
}

impl ScalarUDFImpl for Known {
    fn name(&self) -> &str {
        "known"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[arrow_schema::DataType]) -> Result<arrow_schema::DataType> {
        Ok(arrow_schema::DataType::Boolean)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let known = match array.logical_nulls() {
            Some(nulls) => arrow_array::BooleanArray::new(nulls.inner().clone(), None),
            None => arrow_array::BooleanArray::from(vec![true; array.len()]),
        };
        Ok(ColumnarValue::Array(Arc::new(known)))
    }
    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match args.pop() {
            Some(arg) => Ok(ExprSimplifyResult::Simplified(Expr::IsNotNull(Box::new(arg)))),
            None => Ok(ExprSimplifyResult::Original(args)),
        }
    }
}

/// The columns named as `known(NAME)` in an expression.
pub(super) fn asked_known(expr: &Expr) -> Vec<String> {
    use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut names = Vec::new();
    let _ = expr.apply(|e| {
        if let Expr::ScalarFunction(ScalarFunction { func, args }) = e {
            let asked = match func.name() {
                "known" => args.as_slice(),
                // What is to stand in for null is said.
                "coalesce" => args.split_last().map_or(&[][..], |(_, asked)| asked),
                _ => &[],
            };
            names.extend(asked.iter().filter_map(|asked| asked.try_as_col()).map(|column| column.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}
