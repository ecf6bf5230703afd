//! The program's start: its workers, each with a proxy and a script.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::output;
use crate::proxy::{Proxy, TRANSFER_FORMAT, raise_descriptor_limit};
use crate::script::{Invocation, ScriptError, Scripts, Startfile, with_large_stack};
use crate::workers::upgrade::{Executable, Predecessor};
use crate::workers::{Program, Worker, watch_loops};

/// What to start.
#[derive(Debug, Clone)]
pub struct Start {
    /// The script to run, if it is not the built-in one.
    pub startfile: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How many workers there are to be, if not as many as the startfile says.
    pub workers: Option<usize>,
    /// Compile the startfile without running it.
    pub check: bool,
    /// What is started in an upgrade, if there can be one.
    pub executable: Option<Executable>,
}

impl Start {
    /// Runs the startfile, and serves until the end. Returns the exit code.
    ///
    /// # Errors
    /// The startfile's Lua error, or what of the system is missing.
    pub fn serve(self) -> Result<i32, ScriptError> {
        // Before the program is made, which counts its clients against the limit.
        match raise_descriptor_limit() {
            Ok(limit) => log::debug!("up to {limit} files may be open"),
            Err(error) => log::warn!("the limit on open files stays as it is: {error}"),
        }
        let predecessor = Predecessor::find(TRANSFER_FORMAT).map_err(|error| {
            ScriptError(format!("the process before hands nothing over: {error}"))
        })?;
        let executable = self.executable.clone();
        let program = Program::new(self.workers);
        predecessor
            .iter()
            .for_each(|before| program.number_after(before));
        let startfile = Startfile::read(self.startfile.as_deref())?;
        let first = self.prepare(Worker::new(program.clone(), 1))?;
        // Another process is the service until this one takes its place.
        if predecessor.is_none()
            && let Err(error) = first.proxy.serve_under_service_manager()
        {
            log::warn!("the service manager cannot be reached: {error}");
        }
        first.proxy.end_with_signals().map_err(ScriptError::new)?;
        if self.check {
            let script = first.scripts.present();
            let chunk = script.compile(&startfile)?;
            for warning in script.check(&chunk)? {
                output::stderr().write(format!("dpm: warning: {warning}\n").as_bytes());
            }
            return Ok(0);
        }
        first.run_startfile(&startfile)?;
        watch_loops(&program).map_err(ScriptError::new)?;
        if !first.proxy.is_stopping() {
            let (start, others) = (self, Arc::downgrade(&program));
            let body = move |number| {
                let Some(program) = others.upgrade() else {
                    return Ok(());
                };
                let serve = || start.serve_beside(&program, number, &startfile);
                with_large_stack(serve).map_err(|ScriptError(message)| message)
            };
            program.start_others(body).map_err(ScriptError)?;
        }
        if let Some(predecessor) = predecessor {
            program.take_over(predecessor).map_err(|error| {
                ScriptError(format!(
                    "the place of the process before cannot be taken: {error}"
                ))
            })?;
        }
        if let Some(executable) = executable {
            program.set_executable(executable);
        }
        let code = first.proxy.run();
        program.end_upgrade();
        program.ended(1, code.as_ref().err().map(ToString::to_string));
        program.wait_for_others();
        if !first.proxy.told_to_stop() {
            // As any other program, it waits for whoever reads what it has printed.
            output::stdout().flush_patiently();
        }
        Ok(match code {
            Ok(0) | Err(_) if program.has_failed() => 1,
            code => code.map_err(ScriptError::new)?,
        })
    }

    /// One of the workers beside the first.
    fn serve_beside(
        &self,
        program: &Arc<Program>,
        number: usize,
        startfile: &Startfile,
    ) -> Result<(), ScriptError> {
        let worker = Worker::new(program.clone(), number);
        // A worker that takes the place of another begins with what a reload has brought.
        let reloaded = worker
            .in_use()
            .map(|text| Startfile::of_source(self.startfile.as_deref(), text));
        let prepared = self.prepare(worker)?;
        prepared.run_startfile(reloaded.as_ref().unwrap_or(startfile))?;
        program.serves(number);
        prepared.proxy.run().map_err(ScriptError::new)?;
        Ok(())
    }

    fn prepare(&self, worker: Worker) -> Result<Prepared, ScriptError> {
        let proxy = Proxy::of_worker(worker).map_err(ScriptError::new)?;
        let program = Invocation {
            startfile: self.startfile.clone(),
            arguments: self.arguments.clone(),
        };
        let scripts = Scripts::new(&proxy, program)?;
        Ok(Prepared { proxy, scripts })
    }
}

/// A worker before it runs its startfile.
struct Prepared {
    proxy: Proxy,
    scripts: Rc<Scripts>,
}

impl Prepared {
    fn run_startfile(&self, startfile: &Startfile) -> Result<(), ScriptError> {
        let script = self.scripts.present();
        script.run(&script.compile(startfile)?)
    }
}
