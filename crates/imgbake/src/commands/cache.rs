//! `imgbake cache`

use imgbake_build::cache::LayerCache;
use imgbake_ui::{Align, Cell, Table, Tone, count, human_bytes};

use crate::app::App;
use crate::cli::CacheCommand;
use crate::failure::Failure;

/// Lists or drops layers.
pub(super) fn run(app: &App, command: &CacheCommand) -> Result<(), Failure> {
    match command {
        CacheCommand::Ls { json } => list(app, *json),
        CacheCommand::Prune { to, all } => {
            let pruned = if *all {
                LayerCache::clear(&app.home)?
            } else {
                let cache = LayerCache::open(&app.home, app.config.cache_size)?;
                cache.prune(to.unwrap_or(app.config.cache_size))?
            };
            let memory = match pruned.states {
                0 => String::new(),
                states => format!(" and the saved memory of {}", count(states as u64, "machine")),
            };
            let layers = count(pruned.layers as u64, "layer");
            app.print(&format!("deleted {layers}{memory}, {}\n", human_bytes(pruned.bytes)))
        }
    }
}

fn list(app: &App, json: bool) -> Result<(), Failure> {
    let cache = LayerCache::open_existing(&app.home)?;
    let mut layers = cache.list();
    layers.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.key.cmp(&b.key)));
    if json {
        return app.print_json(&layers);
    }
    if layers.is_empty() {
        return app.print("there are no layers yet; `imgbake build TEMPLATE` saves them\n");
    }
    let mut table = Table::new([
        ("key", Align::Left),
        ("image", Align::Left),
        ("after", Align::Left),
        ("made", Align::Right),
        ("used", Align::Right),
        ("disk", Align::Right),
        ("memory", Align::Right),
    ]);
    let now = jiff::Timestamp::now();
    let ago = |time: jiff::Timestamp| {
        let seconds = now.duration_since(time).as_secs_f64();
        format!("{} ago", imgbake_types::time::rough(seconds))
    };
    let (mut disks, mut states) = (0, 0);
    for layer in &layers {
        disks += layer.disk_bytes;
        states += layer.state_bytes;
        let memory = match layer.state_bytes {
            0 => "–".to_owned(),
            bytes => human_bytes(bytes),
        };
        table.row([
            Cell::toned(Tone::Dim, layer.key.short()),
            Cell::from(layer.image.clone()),
            Cell::from(layer.name.clone()),
            Cell::from(ago(layer.created)),
            Cell::from(ago(layer.used)),
            Cell::from(human_bytes(layer.disk_bytes)),
            Cell::from(memory),
        ]);
    }
    app.print(&format!(
        "{}\n{} layers, {} of {}: disks {}, memory {}\n",
        table.render(app.paint()),
        layers.len(),
        human_bytes(disks + states),
        app.config.cache_size.human(),
        human_bytes(disks),
        human_bytes(states)
    ))
}
