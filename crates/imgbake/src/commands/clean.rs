//! `imgbake clean`

use imgbake_runtime::journal;

use crate::app::App;
use crate::failure::Failure;

/// Ends kept machines; what killed builds left was ended when the program started.
pub(super) fn run(app: &App) -> Result<(), Failure> {
    let swept = journal::sweep(&app.home, true)?;
    if swept.is_empty() {
        return app.print("nothing to clean\n");
    }
    for one in swept {
        if let Some(why) = one.failed {
            return Err(Failure::internal(format!("cannot clean up after {}: {why}", one.job)));
        }
        app.print(&format!(
            "{}: {} processes ended, {} paths removed\n",
            one.job, one.processes, one.paths
        ))?;
    }
    Ok(())
}
