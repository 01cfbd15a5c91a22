//! The layers of earlier builds, as the settings want them used.

use imgbake_build::cache::LayerCache;
use imgbake_build::stage::Layers;

use crate::app::App;
use crate::cli::CacheMode;
use crate::components::Shares;
use crate::failure::Failure;

/// The layers of earlier builds; a cache that cannot be used is reported once, and the builds go on without.
pub fn open(app: &App, (to, from): Shares) -> Result<Option<Layers>, Failure> {
    let mode = match app.config.cache {
        CacheMode::Full => imgbake_build::cache::CacheMode::Full,
        CacheMode::Disk => imgbake_build::cache::CacheMode::Disk,
        CacheMode::Off => return Ok(None),
    };
    match LayerCache::open(&app.home, app.config.cache_size) {
        Ok(cache) => Ok(Some(Layers { cache, mode, to, from })),
        Err(error) => {
            app.note(&format!("no layer is used or saved: {error}"));
            Ok(None)
        }
    }
}
