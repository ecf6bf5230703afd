//! Ends Lua code that has run for too long, from another thread.
//!
//! This module is allowed `unsafe`, because mlua's own hooks can only be set by the thread that runs Lua, which
//! does not come to it. LuaJIT allows `lua_sethook` in a signal handler (its own command line does so for
//! Ctrl-C), and nowhere else while code runs. So the thread that watches sends a signal to the thread that
//! runs Lua; the handler there sets a hook, which raises an error at the next instruction, and at each one after
//! that, so that code which catches the error gets no further; until [`Interruptible::clear`].
//!
//! Only the interpreter looks at hooks: compiled loops do not (LuaJIT would have to be built for that, at a cost to
//! all loops), nor do C functions, nor finalizers. So code that may have to be ended must not be compiled.
//!
//! What keeps it sound:
//!
//! - The handler runs on the thread that it is about: it uses that thread's own state, which is there until
//!   [`Interruptible`] is dropped, on the same thread. Nothing else is done there than to read two atomic numbers and
//!   to call `lua_sethook`.
//! - The signal is sent under a lock that `Interruptible`'s drop takes, too, so that the thread still exists.
//! - The hook raises an error where Lua's code is, as any instruction may.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mlua::{Lua, ffi, lua_State};

/// Nobody else uses it: timers of the processor's time are rare, and it is on every Unix.
const SIGNAL: c_int = libc::SIGVTALRM;

/// The name of the binding's own code in Lua, which comes to its end by itself, and has to: it makes the
/// traceback.
const OWN_CODE: &CStr = c"=dpm";

const MESSAGE: &str = "this has run for longer than it may, and is ended";

/// Which call runs, and which one is to be ended: calls have numbers, from 1 on.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    running: AtomicU64,
    to_end: AtomicU64,
}

impl Turns {
    /// The call that runs now, 0 if none does.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Acquire)
    }

    /// Another call runs now.
    pub fn run(&self, call: u64) {
        self.running.store(call, Ordering::Release);
    }
}

/// A thread's Lua state, which the thread that has made this runs.
#[derive(Debug)]
pub(crate) struct Interruptible {
    turns: Arc<Turns>,
    thread: Arc<Mutex<Option<libc::pthread_t>>>,
}

/// For the thread that watches.
#[derive(Debug, Clone)]
pub(crate) struct Interrupter {
    turns: Arc<Turns>,
    thread: Arc<Mutex<Option<libc::pthread_t>>>,
}

thread_local! {
    /// The state that the handler on this thread is about, and its turns.
    static STATE: Cell<*mut lua_State> = const { Cell::new(ptr::null_mut()) };
    static TURNS: Cell<*const Turns> = const { Cell::new(ptr::null()) };
}

impl Interruptible {
    /// Of this thread's state, which is new. A thread that has several can have the last one interrupted.
    pub fn new(lua: &Lua) -> Interruptible {
        let turns = Arc::<Turns>::default();
        // (The main one: no coroutine has been made yet. Hooks are all coroutines' anyway.)
        let state = lua.exec_raw_lua(|raw| raw.state());
        STATE.set(state);
        TURNS.set(Arc::as_ptr(&turns));
        // SAFETY: it has no conditions.
        let thread = unsafe { libc::pthread_self() };
        Interruptible {
            turns,
            thread: Arc::new(Mutex::new(Some(thread))),
        }
    }

    /// Which call runs.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The handle for another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter {
            turns: self.turns.clone(),
            thread: self.thread.clone(),
        }
    }

    /// Takes the hook away again, if the call with this number was to be ended. (It runs no more.)
    pub fn clear(&self, call: u64) {
        if self.turns.to_end.load(Ordering::Acquire) != call || !self.is_current() {
            return;
        }
        // SAFETY: it is this thread's state, and it is there, as this is.
        unsafe {
            ffi::lua_sethook(STATE.get(), None, 0, 0);
        }
    }

    fn is_current(&self) -> bool {
        TURNS.get() == Arc::as_ptr(&self.turns)
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.is_current() {
            STATE.set(ptr::null_mut());
            TURNS.set(ptr::null());
        }
    }
}

impl Interrupter {
    /// The call that runs, 0 if none does.
    pub fn running(&self) -> u64 {
        self.turns.running()
    }

    /// Ends this call, if it still runs: at its next instruction in the interpreter.
    ///
    /// # Errors
    /// The signal cannot be handled.
    pub fn interrupt(&self, call: u64) -> io::Result<()> {
        handle_signal()?;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = *thread {
            self.turns.to_end.store(call, Ordering::Release);
            // SAFETY: the thread exists, since it would have waited for the lock before its end.
            unsafe {
                libc::pthread_kill(thread, SIGNAL);
            }
        }
        Ok(())
    }
}

/// Has the signal handled, from the first call on.
fn handle_signal() -> io::Result<()> {
    static HANDLED: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let handle = || {
        // SAFETY: all zeros are a valid `sigaction`, and `arrived` does what handlers may do, see there.
        let failed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = arrived as extern "C" fn(c_int) as usize;
            // System calls of the callback go on.
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(SIGNAL, &action, ptr::null_mut()) != 0
        };
        match failed {
            true => Err(io::Error::last_os_error().kind()),
            false => Ok(()),
        }
    };
    HANDLED.get_or_init(handle).map_err(io::Error::from)
}

/// The signal has come, to this thread.
extern "C" fn arrived(_: c_int) {
    let (state, turns) = (STATE.get(), TURNS.get());
    if state.is_null() || turns.is_null() {
        return;
    }
    // SAFETY: both are of this thread, and live until this thread sets them to null. `lua_sethook` is one of the
    // functions that a handler may call.
    unsafe {
        let running = (*turns).running();
        if running != 0 && running == (*turns).to_end.load(Ordering::Acquire) {
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, 1);
        }
    }
}

unsafe extern "C-unwind" fn hook(state: *mut lua_State, activation: *mut ffi::lua_Debug) {
    // SAFETY: Lua calls this with an activation record of its own, and with room on the stack; the error is raised while
    // no value with a destructor is alive.
    unsafe {
        ffi::lua_getinfo(state, c"S".as_ptr(), activation);
        let source: *const c_char = (*activation).source;
        if !source.is_null() && CStr::from_ptr(source) == OWN_CODE {
            return;
        }
        ffi::luaL_where(state, 0);
        ffi::lua_pushlstring_(state, MESSAGE.as_ptr().cast(), MESSAGE.len());
        ffi::lua_concat(state, 2);
        ffi::lua_error(state);
    }
}
