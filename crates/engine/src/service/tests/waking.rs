//! How tasks are woken whose answers come together.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::super::{Service, ServiceSettings, Ticket, Wakers};
use super::{gated, hold, submit, text};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Tasks that wait for answers of one batch, which is computed now.
struct Tasks {
    service: Service,
    batches: usize,
    tickets: [Ticket; 3],
    waker: Waker,
    woken: Arc<Woken>,
}

impl Tasks {
    fn woken_by(wake: impl Fn(Wakers) + Send + Sync + 'static) -> Tasks {
        let (service, gate) = gated(ServiceSettings::default());
        service.wake_by(wake);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let first = hold(&service, &gate);
        let tickets = [1, 2, 3].map(|number| submit(&service, &[&text(number)]));
        let mut tasks = Tasks {
            service,
            batches: 0,
            tickets,
            waker,
            woken,
        };
        assert_eq!(tasks.ready(), 0);
        gate.open();
        first.wait();
        tasks.service.close();
        assert!(tasks.service.drained(Duration::from_secs(20)));
        tasks.batches = gate.batches().len();
        tasks
    }

    /// How many of them have their answers.
    fn ready(&mut self) -> usize {
        let context = &mut Context::from_waker(&self.waker);
        let tickets = self.tickets.iter_mut();
        let polled = tickets.map(|ticket| Pin::new(ticket).poll(context));
        polled.filter(|polled| polled.is_ready()).count()
    }
}

/// A runtime would wake its thread for each answer of a batch; and a task that is left out would wait for ever.
#[test]
fn tasks_of_a_batch_are_woken_together() {
    let (tell, told) = std::sync::mpsc::channel();
    let mut tasks = Tasks::woken_by(move |wakers| tell.send(wakers).unwrap());
    let wakers = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((tasks.batches, tasks.woken.0.load(SeqCst)), (2, 0));
    drop(wakers);
    assert_eq!((tasks.woken.0.load(SeqCst), tasks.ready()), (3, 3));
}

/// Tasks would wait for ever, and the service never be quiet, where the program's own way to wake them fails.
#[test]
fn tasks_are_woken_where_waking_panics() {
    let mut tasks = Tasks::woken_by(|_| panic!("there is no runtime here"));
    assert_eq!((tasks.woken.0.load(SeqCst), tasks.ready()), (3, 3));
}
