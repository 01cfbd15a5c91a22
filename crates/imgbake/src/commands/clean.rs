//! `imgbake clean`

use imgbake_runtime::journal;

use crate::app::App;
use crate::failure::Failure;

/// Ends kept machines, and tries again to remove what killed builds left outside this host; the rest of
/// what they left was removed when the program started.
pub(super) async fn run(app: &App) -> Result<(), Failure> {
    let swept = journal::sweep(&app.home, true, &crate::components::cleaners()).await?;
    if swept.is_empty() {
        return app.print("nothing to clean\n");
    }
    let mut left = 0;
    for one in swept {
        app.print(&format!(
            "{}: {} processes ended, {} paths and {} remote resources removed\n",
            one.job, one.processes, one.paths, one.remotes
        ))?;
        for item in &one.left {
            app.print(&format!("{}: not removed: {}: {}\n", one.job, item.what, item.why))?;
        }
        if let Some(why) = &one.failed {
            app.print(&format!("{}: stopped early: {why}\n", one.job))?;
        }
        left += one.left.len() + usize::from(one.failed.is_some());
    }
    if left == 0 {
        return Ok(());
    }
    Err(Failure::internal("cannot clean up everything: what is left stays in the journal"))
}
