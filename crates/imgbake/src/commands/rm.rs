//! `imgbake rm`

use imgbake_types::Reference;

use crate::app::App;
use crate::components;
use crate::failure::Failure;
use crate::images;

/// Removes versions by name. One that is refused does not stop the others.
pub(super) async fn run(app: &App, references: &[Reference]) -> Result<(), Failure> {
    references.iter().try_for_each(images::check_local)?;
    let layout = components::layout(&app.home)?;
    let mut failed: Option<Failure> = None;
    for reference in references {
        match layout.remove(reference).await {
            Ok(removed) => {
                let (name, version, digest) = (&removed.name, &removed.version, &removed.digest);
                app.print(&format!("removed {name}:{version} ({})\n", digest.short()))?;
            }
            Err(error) => match &mut failed {
                Some(failed) => failed.and(error.into()),
                none => *none = Some(error.into()),
            },
        }
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    app.note("`imgbake gc` frees what nothing else needs");
    Ok(())
}
