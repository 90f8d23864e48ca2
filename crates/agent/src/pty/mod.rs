//! Terminals: programs that stay when their viewers leave, and what they show ([`wire::guest::pty`]).
//!
//! ```text
//!                    ┌── screen   (what is shown, for those who come later)
//! program ── pair ── terminal
//!                    └── viewers ── one Attach stream each
//! ```

mod attach;
mod master;
pub mod pair;
pub mod screen;
pub mod shell;
mod terminal;
mod viewers;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use wire::guest::pty::{
    CELLS_MAX, CELLS_SUM_MAX, ID_BYTES_MAX, LIST_BYTES_MAX, PTYS_MAX, PtyCall, PtySpec, SIDE_MAX,
};
use wire::guest::{Done, Error, ErrorCode, Outcome};

use self::screen::Size;
use self::terminal::Terminal;
use crate::agent::{Agent, Claimed};
use crate::connection::stream::Stream;
use crate::failure;

/// All terminals of the sandbox, in the order they were made.
#[derive(Default)]
pub struct Ptys(RefCell<Vec<Rc<Terminal>>>);

/// Does what is asked.
pub async fn call(agent: &Agent, claimed: &Claimed, stream: &Stream, call: PtyCall) -> Outcome {
    let ptys = &agent.ptys;
    match call {
        PtyCall::Open(spec) => open(agent, claimed, spec).await,
        PtyCall::Attach { id } => attach::attach(agent, claimed, stream, &ptys.find(&id)?).await,
        PtyCall::Resize { id, cols, rows } => {
            let terminal = ptys.find(&id)?;
            let size = ptys.size(cols, rows, Some(&terminal))?;
            terminal.resize(size).await?;
            Ok(Done::Ptys(vec![terminal.info()]))
        }
        PtyCall::List => Ok(Done::Ptys(ptys.0.borrow().iter().map(|terminal| terminal.info()).collect())),
        PtyCall::Get { id } => Ok(Done::Ptys(vec![ptys.find(&id)?.info()])),
        PtyCall::Close { id } => {
            let terminal = ptys.find(&id)?;
            ptys.remove(&terminal);
            terminal.close(&agent.reaper).await;
            Ok(Done::Nothing)
        }
    }
}

async fn open(agent: &Agent, claimed: &Claimed, spec: PtySpec) -> Outcome {
    let ptys = &agent.ptys;
    check_id(&spec.id)?;
    ptys.size(spec.cols, spec.rows, None)?;
    let cwd = claimed.sandbox.absolute(spec.cwd.as_deref().unwrap_or(""));
    // Without the slash that an empty path leaves behind.
    let cwd = cwd.components().collect::<PathBuf>().to_string_lossy().into_owned();
    let is_lazy = spec.lazy;
    let terminal = Rc::new(Terminal::new(spec, cwd));
    ptys.add(&terminal)?;
    if !is_lazy && let Err(error) = terminal.start(&claimed.spawner, &agent.reaper).await {
        ptys.remove(&terminal);
        return Err(error);
    }
    Ok(Done::Ptys(vec![terminal.info()]))
}

fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.contains('\0') {
        return Err(failure::invalid("a terminal's id is a text that is not empty and has no NUL"));
    }
    if id.len() > ID_BYTES_MAX {
        let message = format!("a terminal's id has at most {ID_BYTES_MAX} bytes");
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    Ok(())
}

impl Ptys {
    fn find(&self, id: &str) -> Result<Rc<Terminal>, Error> {
        let found = self.0.borrow().iter().find(|terminal| terminal.id() == id).cloned();
        found.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("there is no terminal {id:?}")))
    }

    /// Adds one; forgets one that has ended, if there is no room otherwise.
    fn add(&self, terminal: &Rc<Terminal>) -> Result<(), Error> {
        if self.find(terminal.id()).is_ok() {
            let message = format!("there is a terminal {:?} already", terminal.id());
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
        if self.0.borrow().len() >= PTYS_MAX {
            self.forget_ended()?;
        }
        let mut all = self.0.borrow_mut();
        let infos: Vec<_> = all.iter().chain([terminal]).map(|terminal| terminal.info()).collect();
        // Infos are plain data: they always have a JSON form.
        if serde_json::to_vec(&infos).unwrap_or_default().len() > LIST_BYTES_MAX {
            let message =
                "the environments of all terminals are too long to be listed; close some terminals first";
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        all.push(terminal.clone());
        Ok(())
    }

    fn forget_ended(&self) -> Result<(), Error> {
        let all = self.0.borrow();
        let ended = all.iter().filter(|terminal| terminal.ended_at().is_some());
        let oldest = ended.min_by_key(|terminal| terminal.ended_at()).cloned();
        drop(all);
        let too_many = || {
            let message = format!("the sandbox has {PTYS_MAX} terminals, as many as it may; close one first");
            Error::new(ErrorCode::TooMany, message)
        };
        self.remove(&oldest.ok_or_else(too_many)?);
        Ok(())
    }

    fn remove(&self, terminal: &Rc<Terminal>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, terminal));
    }

    /// The size, if it is one, and all terminals together stay within their limit.
    fn size(&self, cols: u16, rows: u16, resized: Option<&Rc<Terminal>>) -> Result<Size, Error> {
        let size = Size { columns: cols, rows };
        let is_side = |side| (1..=SIDE_MAX).contains(&side);
        if !is_side(cols) || !is_side(rows) || size.cells() > CELLS_MAX {
            return Err(failure::invalid(format!(
                "a terminal has 1 to {SIDE_MAX} columns and rows, and at most {CELLS_MAX} letters"
            )));
        }
        let all = self.0.borrow();
        let others = all.iter().filter(|other| !resized.is_some_and(|resized| Rc::ptr_eq(other, resized)));
        let cells: u32 = others.map(|terminal| terminal.size().cells()).sum();
        if cells.saturating_add(size.cells()) > CELLS_SUM_MAX {
            let message =
                format!("all terminals together have at most {CELLS_SUM_MAX} letters; close some first");
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        Ok(size)
    }
}
