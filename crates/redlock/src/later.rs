//! Work that is put off for a moment, because most of it turns out to be unnecessary: a lock that is released soon
//! needs no task of its own, and the last answers come in by themselves.
//!
//! Starting a task for each lock wakes another thread for each, which costs more than everything else that this
//! process does for a lock.

use std::{mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

/// Work is done between one and two of these after it was put off: every piece of it has the time to become
/// unnecessary.
const MOMENT: Duration = Duration::from_millis(5);

type Work = Box<dyn FnOnce() + Send>;

/// One agenda for each runtime that uses the manager: what is put off in a runtime is done in it, and ends with it.
#[derive(Default)]
pub(crate) struct Later(Mutex<Vec<(Id, Arc<Agenda>)>>);

/// What is to be done; `None` once nobody will.
struct Agenda {
    work: Mutex<Option<Pages>>,
    some: Notify,
}

#[derive(Default)]
struct Pages {
    /// Put off since the last look at the agenda.
    new: Vec<Work>,
    /// Put off before that: to be done at the next.
    due: Vec<Work>,
}

impl Later {
    /// Does it in a moment; at once where there is no runtime.
    pub(crate) fn put_off(&self, work: impl FnOnce() + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return work() };
        let mut agendas = self.0.lock();
        let here = agendas.iter().find(|(id, agenda)| *id == runtime.id() && agenda.work.lock().is_some());
        let agenda = if let Some((_, agenda)) = here {
            Arc::clone(agenda)
        } else {
            agendas.retain(|(_, agenda)| agenda.work.lock().is_some());
            let agenda = Arc::new(Agenda { work: Mutex::new(Some(Pages::default())), some: Notify::new() });
            agendas.push((runtime.id(), Arc::clone(&agenda)));
            runtime.spawn(attend(Ending(Arc::clone(&agenda))));
            agenda
        };
        drop(agendas);
        agenda.add(Box::new(work));
    }

    /// Does at once whatever was put off.
    pub(crate) fn hurry(&self) {
        let agendas: Vec<_> = self.0.lock().iter().map(|(_, agenda)| Arc::clone(agenda)).collect();
        agendas.iter().filter_map(|agenda| agenda.take()).flat_map(Pages::all).for_each(|work| work());
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        for (_, agenda) in self.0.get_mut() {
            let last = agenda.work.lock().take();
            agenda.some.notify_one();
            last.into_iter().flat_map(Pages::all).for_each(|work| work());
        }
    }
}

impl Pages {
    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.due.is_empty()
    }

    fn all(self) -> impl Iterator<Item = Work> {
        self.due.into_iter().chain(self.new)
    }
}

impl Agenda {
    fn add(&self, work: Work) {
        if let Some(pages) = &mut *self.work.lock() {
            if pages.is_empty() {
                self.some.notify_one();
            }
            pages.new.push(work);
        }
    }

    fn take(&self) -> Option<Pages> {
        self.work.lock().as_mut().map(mem::take)
    }

    /// What has been put off for long enough.
    fn turn(&self) -> Option<Vec<Work>> {
        let mut work = self.work.lock();
        let pages = work.as_mut()?;
        let next = mem::take(&mut pages.new);
        Some(mem::replace(&mut pages.due, next))
    }

    /// `None` once nobody adds anything.
    fn is_empty(&self) -> Option<bool> {
        self.work.lock().as_ref().map(Pages::is_empty)
    }
}

/// Closes the agenda when its task ends, however it does, so that nothing is added that would never be done.
struct Ending(Arc<Agenda>);

impl Drop for Ending {
    fn drop(&mut self) {
        // What is left may hold the manager that this agenda belongs to: it is dropped after the lock is.
        let left = self.0.work.lock().take();
        drop(left);
    }
}

async fn attend(agenda: Ending) {
    let agenda = &agenda.0;
    while let Some(idle) = agenda.is_empty() {
        if idle {
            agenda.some.notified().await;
            continue;
        }
        tokio::time::sleep(MOMENT).await;
        agenda.turn().into_iter().flatten().for_each(|work| work());
    }
}
