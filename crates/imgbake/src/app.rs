//! What every command stands on: settings, home, cancellation, and the listener of its events.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};

use camino::Utf8Path;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets, journal};
use imgbake_ui::{Display, JsonLines, Mode, Options, Paint};
use tokio::task::JoinHandle;

use crate::cli::{EventArgs, Global, OnError, Progress};
use crate::config::Config;
use crate::failure::Failure;

/// A running command.
pub struct App {
    /// Its settings.
    pub config: Config,
    /// Where its state is.
    pub home: Home,
    /// Its cancellation: Ctrl-C or a termination signal.
    pub cancel: Cancel,
    verbose: bool,
    jobs: Arc<Mutex<Vec<String>>>,
}

/// A command's listener of events.
pub struct Listener {
    task: JoinHandle<io::Result<()>>,
    close: tokio::sync::oneshot::Sender<()>,
}

impl App {
    /// Reads the settings, and ends what killed runs left.
    pub async fn start(global: &Global, on_error: Option<OnError>) -> Result<Self, Failure> {
        let config = Config::load(global, on_error)?;
        let home = Home::new(config.home.clone());
        let swept = journal::sweep(&home, false)?;
        if home.registry().join("index.json").exists() {
            crate::rooms::registry(&home)?.sweep().await?;
        }
        let app = Self {
            config,
            home,
            cancel: Cancel::new(),
            verbose: global.verbose,
            jobs: Arc::default(),
        };
        for one in &swept {
            if let Some(why) = &one.failed {
                app.note(&format!("cannot clean up after {}, which was killed: {why}", one.job));
            }
        }
        for one in swept.iter().filter(|one| one.processes + one.paths > 0) {
            app.note(&format!(
                "cleaned up after {}, which was killed: {} processes, {} paths",
                one.job, one.processes, one.paths
            ));
        }
        Ok(app)
    }

    /// How text is coloured on standard output.
    pub fn paint(&self) -> Paint {
        Paint::new(self.config.color && io::stdout().is_terminal())
    }

    /// A line for people, on standard error.
    #[expect(clippy::print_stderr, reason = "words beside a command's output")]
    pub fn note(&self, text: &str) {
        if self.config.progress != Progress::Quiet {
            eprintln!("imgbake: {text}");
        }
    }

    /// A command's result, on standard output.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
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
        self.begin_shown(word, args, secrets, self.config.progress)
    }

    /// Begins a job whose result the command prints: of its events only warnings are shown.
    pub fn begin_quiet(&self, word: &str, args: &EventArgs) -> Result<(Job, Listener), Failure> {
        self.begin_shown(word, args, Secrets::default(), Progress::Quiet)
    }

    fn begin_shown(
        &self,
        word: &str,
        args: &EventArgs,
        secrets: Secrets,
        progress: Progress,
    ) -> Result<(Job, Listener), Failure> {
        let id = imgbake_runtime::job::new_id(word);
        let (events, receiver) = Events::channel(&id, secrets.clone());
        let json = args.events.as_deref().map(open_events).transpose()?;
        let job = Job::begin(&self.home, &id, self.cancel.clone(), events, secrets)?;
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(id);
        let (close, closed) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(listen(receiver, closed, self.display(progress), json));
        let listener = Listener { task, close };
        self.catch_signals();
        Ok((job, listener))
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
        journal::end_marked(job);
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

/// Shows events until there are no more, or until the command is over: then those that were told
/// before, and no later ones. A kept machine's console goes on telling.
async fn listen(
    mut receiver: tokio::sync::mpsc::UnboundedReceiver<imgbake_types::Event>,
    mut closed: tokio::sync::oneshot::Receiver<()>,
    mut display: Display,
    mut json: Option<JsonLines>,
) -> io::Result<()> {
    let mut written = Ok(());
    let mut open = true;
    loop {
        let event = tokio::select! {
            biased;
            _ = &mut closed, if open => {
                open = false;
                receiver.close();
                continue;
            }
            event = receiver.recv() => event,
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
    /// Waits until every event that was told so far is shown.
    pub async fn end(self) -> Result<(), Failure> {
        // A listener that ended by itself says why below.
        let _ = self.close.send(());
        match self.task.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Err(error)) => Err(Failure::internal(format!("cannot write events: {error}"))),
            Err(error) => Err(Failure::internal(format!("the display ended early: {error}"))),
        }
    }
}
