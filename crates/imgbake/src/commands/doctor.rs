//! `imgbake doctor`

use imgbake_runtime::journal::Swept;
use imgbake_runtime::{Secrets, Tool, space};
use imgbake_types::Arch;
use imgbake_ui::{Align, Cell, Table, Tone, human_bytes};
use serde::Serialize;

use crate::app::{App, conclude};
use crate::cli::EventArgs;
use crate::config::Setting;
use crate::failure::Failure;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What.
    name: String,
    /// Whether it is as it should be.
    ok: bool,
    /// Whether a build needs it.
    needed: bool,
    /// What was seen.
    seen: String,
    /// What to do about it.
    fix: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    settings: Vec<Setting>,
}

/// Programs, and what needs them.
const TOOLS: [(Tool, &str, bool); 7] = [
    (Tool::new("qemu-system-x86_64", "qemu-system-x86"), "machines", true),
    (Tool::new("qemu-system-aarch64", "qemu-system-arm"), "aarch64 machines", false),
    (Tool::new("mmdebstrap", "mmdebstrap"), "[source] bootstrap", true),
    (Tool::new("mke2fs", "e2fsprogs"), "[source] bootstrap", true),
    (Tool::new("grub-mkimage", "grub-common"), "[source] bootstrap", true),
    (Tool::new("ansible-playbook", "ansible-core"), "ansible steps", false),
    (Tool::new("ssh", "openssh-client"), "--on-error keep, ansible steps", false),
];

/// Looks at this machine; exit code 4 where a build would lack something.
pub(super) async fn run(app: &App, json: bool) -> Result<(), Failure> {
    let mut findings: Vec<Finding> =
        TOOLS.iter().map(|(tool, needs, needed)| program(*tool, needs, *needed)).collect();
    findings.push(firmware(Arch::X86_64));
    findings.push(firmware(Arch::Aarch64));
    findings.push(namespaces());
    findings.push(kvm(app).await?);
    findings.push(room(app));
    findings.extend(app.left.iter().flat_map(left));
    let lacking: Vec<String> =
        findings.iter().filter(|one| one.needed && !one.ok).map(|one| one.name.clone()).collect();
    let report = Report { findings, settings: app.config.settings.clone() };
    if json {
        app.print_json(&report)?;
    } else {
        print(app, &report)?;
    }
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Failure::lacking(format!("this machine lacks {}", lacking.join(", "))))
}

fn program(tool: Tool, needs: &str, needed: bool) -> Finding {
    let found = tool.find();
    Finding {
        name: tool.program.to_owned(),
        ok: found.is_ok(),
        needed,
        seen: found.as_ref().map_or_else(|_| format!("missing; for {needs}"), ToString::to_string),
        fix: found.is_err().then(|| format!("apt-get install {}", tool.package)),
    }
}

fn firmware(arch: Arch) -> Finding {
    let found = imgbake_qemu::firmware::uefi(arch);
    Finding {
        name: format!("UEFI firmware, {arch}"),
        ok: found.is_ok(),
        needed: false,
        seen: found.as_ref().map_or_else(ToString::to_string, |files| files.code.to_string()),
        fix: found.err().and_then(|error| error.help()),
    }
}

/// Whether packages can be installed into a root here.
fn namespaces() -> Finding {
    let found = imgbake_bootstrap::check_namespaces();
    Finding {
        name: "namespaces".to_owned(),
        ok: found.is_ok(),
        needed: false,
        seen: found
            .as_ref()
            .map_or_else(ToString::to_string, |how| format!("packages are installed {how}")),
        fix: found.err().and_then(|error| error.help()),
    }
}

/// Whether guests run under KVM here: proved by one that does.
async fn kvm(app: &App) -> Result<Finding, Failure> {
    let (job, listener) = app.begin_reading("doctor", &EventArgs::default(), Secrets::default())?;
    let verdict = imgbake_qemu::QemuBuilder::new().kvm(&job, Arch::host()).await;
    let verdict = conclude(job, listener, Ok(verdict)).await?;
    let (ok, seen) = match verdict {
        Ok(verdict) => (verdict.works, verdict.reason),
        Err(error) => (false, error.to_string()),
    };
    let fix = (!ok).then(|| "builds use TCG, QEMU's own emulation, which is slower".to_owned());
    Ok(Finding { name: "KVM".to_owned(), ok, needed: false, seen, fix })
}

fn room(app: &App) -> Finding {
    const ENOUGH: u64 = 8 << 30;
    let home = app.home.root();
    let free = space::free_bytes(home).unwrap_or(0);
    Finding {
        name: "room for builds".to_owned(),
        ok: free >= ENOUGH,
        needed: false,
        seen: format!("{} free on {}", human_bytes(free), space::mount_point(home)),
        fix: (free < ENOUGH).then(|| {
            format!(
                "free some, or set `home` elsewhere; {} is enough for most",
                human_bytes(ENOUGH)
            )
        }),
    }
}

/// What a killed build left outside this host.
fn left(swept: &Swept) -> impl Iterator<Item = Finding> {
    swept.left.iter().map(|left| Finding {
        name: format!("left by {}", swept.job),
        ok: false,
        needed: false,
        seen: format!("{}: {}", left.what, left.why),
        fix: Some("`imgbake clean` tries to remove it again".to_owned()),
    })
}

fn print(app: &App, report: &Report) -> Result<(), Failure> {
    let mut findings = Table::without_header([Align::Left, Align::Left, Align::Left]);
    for one in &report.findings {
        let mark = match (one.ok, one.needed) {
            (true, _) => Cell::toned(Tone::Good, "✓"),
            (false, true) => Cell::toned(Tone::Bad, "✗"),
            (false, false) => Cell::toned(Tone::Warn, "!"),
        };
        findings.row([mark, Cell::from(one.name.clone()), Cell::from(one.seen.clone())]);
        if let Some(fix) = &one.fix {
            findings.row([
                Cell::from(""),
                Cell::from(""),
                Cell::toned(Tone::Dim, format!("→ {fix}")),
            ]);
        }
    }
    let mut settings =
        Table::new([("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)]);
    for one in &report.settings {
        settings.row([one.name.to_owned(), one.value.clone(), one.origin.clone()]);
    }
    let paint = app.paint();
    app.print(&format!("{}\n{}", findings.render(paint), settings.render(paint)))
}
