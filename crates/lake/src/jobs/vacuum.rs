//! Files of a table that no version of late needs.

use crate::location::Location;
use deltalake_core::DeltaTableError;
use deltalake_core::operations::vacuum::VacuumMode;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use ouzel_core::error::ResultExt;
use ouzel_core::units::TimeSpan;
use ouzel_core::{Error, Result};

/// Files that are removed at once.
const AT_ONCE: usize = 10;

/// Removes the files of a table that neither its version of now nor one of the last `keep` names, if nobody has written to them for so long: what newer files have taken
/// the place of, and what killed runs have left. Their names. `plan`: only tells.
///
/// Which they are the library finds. It would tell of it in the table's log, by commits that it does not sync: so they are removed here.
pub fn vacuum(root: &Location, keep: TimeSpan, plan: bool) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting a runtime".into())?;
    let doing = || format!("removing files of the table `{}`", root.name());
    runtime.block_on(async {
        let table = root.open_table(None).await?;
        let store = table.log_store().object_store(None);
        // How long is long enough, the caller has judged.
        let found = table.vacuum().with_retention_period(chrono::Duration::microseconds(keep.micros()));
        let found = found.with_enforce_retention_duration(false).with_mode(VacuumMode::Full).with_dry_run(true).await;
        let (_, found) = found.map_err(|e: DeltaTableError| Error::unavailable(doing()).caused_by(e))?;
        let mut names = found.files_deleted;
        names.sort();
        if plan {
            return Ok(names);
        }
        let remove = |name: String| {
            let store = store.clone();
            async move {
                let key = Key::parse(&name).map_err(|e| Error::internal(name.clone()).caused_by(e))?;
                match store.delete(&key).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(e) => Err(Error::unavailable(format!("removing `{name}`")).caused_by(e)),
                }
            }
        };
        stream::iter(names.clone()).map(remove).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(names)
    })
}
