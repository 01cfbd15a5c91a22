//! What every command is based on: settings, home, cancellation, and the listener of its events.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::Utf8Path;
use imgbake_build::cache::LayerCache;
use imgbake_runtime::journal::{self, Swept};
use imgbake_runtime::queue::{EventReceiver, EventSender, queue};
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{Cancel, Events, Home, Job, RuntimeError, Secrets};
use imgbake_ui::{Display, JsonLines, Mode, Options, Paint};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::{EventArgs, Global, Progress};
use crate::components::Wiring;
use crate::config::{Config, Flags};
use crate::failure::Failure;

/// How long an interrupted command waits for its display.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running command.
pub struct App {
    /// Its settings.
    pub config: Config,
    /// Where its state is.
    pub home: Home,
    /// Its cancellation: Ctrl-C or a termination signal.
    pub cancel: Cancel,
    /// What killed runs left that could not be removed now.
    pub left: Vec<Swept>,
    /// The builders that it has.
    pub wiring: Wiring,
    verbose: bool,
    jobs: Arc<Mutex<Vec<String>>>,
}

/// A command's listener of events: of one job or of many.
pub struct Listener {
    task: JoinHandle<io::Result<()>>,
    events: EventSender,
    cancel: Cancel,
    orders: UnboundedSender<Order>,
}

/// What a listener gets beside events.
enum Order {
    /// Show nothing until `Resume`; all that moves goes from the terminal first.
    Pause(oneshot::Sender<()>),
    /// Show again.
    Resume,
    /// The command is over: what was reported before is shown, and nothing later.
    Close,
}

impl App {
    /// Reads the settings, and ends what killed runs left.
    pub async fn start(global: &Global, flags: Flags, wiring: Wiring) -> Result<Self, Failure> {
        let config = Config::load(global, flags)?;
        let home = Home::new(config.home.clone());
        let swept = journal::sweep(&home, false, &crate::components::cleaners()).await?;
        if home.registry().join("index.json").exists() {
            crate::components::registry(&home)?.sweep().await?;
        }
        if home.cache().join("layers").exists()
            && let Ok(cache) = LayerCache::open(&home, config.cache_size)
        {
            // A cache that cannot be used is reported when it is wanted.
            let _ = cache.sweep();
        }
        let app = Self {
            config,
            home,
            cancel: Cancel::new(),
            left: swept.iter().filter(|one| !one.left.is_empty()).cloned().collect(),
            wiring,
            verbose: global.verbose,
            jobs: Arc::default(),
        };
        for one in &swept {
            if let Some(why) = &one.failed {
                app.note(&format!("cannot clean up after {}, which was killed: {why}", one.job));
            }
        }
        for one in swept.iter().filter(|one| one.processes + one.paths + one.remotes > 0) {
            app.note(&format!(
                "cleaned up after {}, which was killed: {} processes, {} paths, {} remote resources",
                one.job, one.processes, one.paths, one.remotes
            ));
        }
        Ok(app)
    }

    /// How text is coloured on standard output.
    pub fn paint(&self) -> Paint {
        Paint::new(self.config.color && io::stdout().is_terminal())
    }

    /// A line for people, on standard error.
    pub fn note(&self, text: &str) {
        if self.config.progress != Progress::Quiet {
            let line = format!("imgbake: {text}\n");
            // A note beside a command's output: that nobody reads it is no failure.
            let _ = io::stderr().lock().write_all(imgbake_ui::harmless(&line, false).as_bytes());
        }
    }

    /// A command's result, on standard output.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let color = self.config.color && io::stdout().is_terminal();
        let mut out = io::stdout().lock();
        match out.write_all(imgbake_ui::harmless(text, color).as_bytes()).and_then(|()| out.flush())
        {
            // A pager that was left is no failure.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::internal(format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// A value as JSON, on standard output.
    pub fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::internal(error.to_string()))?;
        self.print(&format!("{text}\n"))
    }

    /// Begins a job whose events are shown, and written where the user wants them.
    pub fn begin(
        &self,
        word: &str,
        args: &EventArgs,
        secrets: Secrets,
    ) -> Result<(Job, Listener), Failure> {
        let listener = self.listen(args, self.config.progress)?;
        let job = self.job(&listener, word, self.cancel.clone(), secrets)?;
        Ok((job, listener))
    }

    /// The same for a command that only reads the home, which may be read-only or another user's.
    pub fn begin_reading(
        &self,
        word: &str,
        args: &EventArgs,
        secrets: Secrets,
    ) -> Result<(Job, Listener), Failure> {
        let listener = self.listen(args, self.config.progress)?;
        let job =
            self.make_job(&listener, word, self.cancel.clone(), secrets, Job::begin_reading)?;
        Ok((job, listener))
    }

    /// Begins a job whose result the command prints: of its events only warnings are shown. It only reads the
    /// home until it has found what it changes.
    pub fn begin_quiet(
        &self,
        word: &str,
        args: &EventArgs,
        secrets: Secrets,
    ) -> Result<(Job, Listener), Failure> {
        let listener = self.listen(args, Progress::Quiet)?;
        let job =
            self.make_job(&listener, word, self.cancel.clone(), secrets, Job::begin_reading)?;
        Ok((job, listener))
    }

    /// Begins to show events, and to write them where the user wants them.
    pub fn listen(&self, args: &EventArgs, progress: Progress) -> Result<Listener, Failure> {
        let json = args.events.as_deref().map(open_events).transpose()?;
        let (events, receiver) = queue();
        let (orders, ordered) = unbounded_channel();
        let (display, handle) = (self.display(progress), Handle::current());
        // On a thread of its own: a terminal may stand still.
        let task = tokio::task::spawn_blocking(move || {
            handle.block_on(listen(receiver, ordered, display, json))
        });
        self.catch_signals();
        Ok(Listener { task, events, orders, cancel: self.cancel.clone() })
    }

    /// Begins a job that a listener hears.
    pub fn job(
        &self,
        listener: &Listener,
        word: &str,
        cancel: Cancel,
        secrets: Secrets,
    ) -> Result<Job, Failure> {
        self.make_job(listener, word, cancel, secrets, Job::begin)
    }

    fn make_job(
        &self,
        listener: &Listener,
        word: &str,
        cancel: Cancel,
        secrets: Secrets,
        begin: fn(&Home, &str, Cancel, Events, Secrets) -> Result<Job, RuntimeError>,
    ) -> Result<Job, Failure> {
        let id = imgbake_runtime::job::new_id(word);
        let events = Events::to(listener.events.clone(), &id, secrets.clone());
        let job = begin(&self.home, &id, cancel, events, secrets)?;
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(id);
        Ok(job)
    }

    fn display(&self, progress: Progress) -> Display {
        let mode = match progress {
            Progress::Auto if io::stderr().is_terminal() => Mode::Bars,
            Progress::Bars => Mode::Bars,
            Progress::Auto | Progress::Plain => Mode::Plain,
            Progress::Quiet => Mode::Quiet,
        };
        let (width, height) = terminal_size();
        let options =
            Options { mode, color: self.config.color, width, height, verbose: self.verbose };
        Display::new(options, Box::new(io::stderr()))
    }

    /// The first signal cancels and cleans; the second kills.
    fn catch_signals(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)] = kinds.map(signal) else {
            return;
        };
        let (cancel, jobs) = (self.cancel.clone(), Arc::clone(&self.jobs));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
                if cancel.is_cancelled() {
                    kill(&jobs);
                }
                cancel.cancel();
            }
        });
    }
}

/// Ends the jobs' processes and this one at once; the next run removes the rest.
#[expect(
    clippy::disallowed_methods,
    reason = "the user's second interrupt: nothing may hold the program"
)]
fn kill(jobs: &Mutex<Vec<String>>) {
    for job in jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
        // Killed at once; none is waited for long.
        let _ = journal::end_marked(job, Duration::from_millis(200));
    }
    std::process::exit(130);
}

fn open_events(path: &Utf8Path) -> Result<JsonLines, Failure> {
    let out: Box<dyn Write + Send> = if path == "-" {
        Box::new(io::stdout())
    } else {
        let file = File::create(path)
            .map_err(|error| Failure::usage(format!("cannot write events to {path}: {error}")))?;
        Box::new(file)
    };
    Ok(JsonLines::new(out))
}

fn terminal_size() -> (Option<u16>, Option<u16>) {
    imgbake_runtime::terminal::size()
        .map_or((None, None), |(width, height)| (Some(width), Some(height)))
}

/// Shows events until the command is over: then those that were reported before, and no later ones. A kept
/// machine's console goes on telling.
async fn listen(
    mut receiver: EventReceiver,
    mut orders: UnboundedReceiver<Order>,
    mut display: Display,
    mut json: Option<JsonLines>,
) -> io::Result<()> {
    let mut written = Ok(());
    let mut open = true;
    let mut shown = true;
    loop {
        let event = tokio::select! {
            biased;
            order = orders.recv(), if open => {
                match order {
                    Some(Order::Pause(paused)) => {
                        display.pause();
                        shown = false;
                        // Whoever asked may have gone.
                        let _ = paused.send(());
                    }
                    Some(Order::Resume) => shown = true,
                    Some(Order::Close) | None => {
                        open = false;
                        shown = true;
                        receiver.close();
                    }
                }
                continue;
            }
            event = receiver.recv(), if shown => event,
        };
        let Some(event) = event else { break };
        display.handle(&event);
        if let Some(out) = &mut json
            && written.is_ok()
        {
            written = out.write(&event);
        }
    }
    display.finish();
    written
}

/// Ends a job and its display; the work's own error comes before that of cleaning up.
pub async fn conclude<T>(
    job: Job,
    listener: Listener,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    let ended = job.end();
    let secrets = job.secrets().clone();
    drop(job);
    let shown = listener.end().await;
    let value = result.map_err(|failure| failure.redacted(&secrets))?;
    ended?;
    shown?;
    Ok(value)
}

impl Listener {
    /// Takes the display off the terminal until the answer is dropped: somebody else needs it.
    pub async fn pause(&self) -> Paused {
        let (sender, paused) = oneshot::channel();
        // A listener that ended by itself says why at the end.
        let _ = self.orders.send(Order::Pause(sender));
        let _ = paused.await;
        Paused(self.orders.clone())
    }

    /// Waits until every event that was reported so far is shown.
    pub async fn end(self) -> Result<(), Failure> {
        let _ = self.orders.send(Order::Close);
        let shown = async {
            // Who interrupts a command does not wait for a terminal that stands still.
            tokio::select! {
                shown = self.task => shown,
                () = patience(&self.cancel) => Ok(Ok(())),
            }
        };
        match shown.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Err(error)) => Err(Failure::internal(format!("cannot write events: {error}"))),
            Err(error) => Err(Failure::internal(format!("the display ended early: {error}"))),
        }
    }
}

/// Ends some time after an interrupt.
async fn patience(cancel: &Cancel) {
    cancel.cancelled().await;
    Backoff::new(PATIENCE, PATIENCE).wait().await;
}

/// The terminal is somebody else's while this lives.
pub struct Paused(UnboundedSender<Order>);

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = self.0.send(Order::Resume);
    }
}
