//! Several requests at once, and an end when one fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::Builder;

use super::SourceError;
use super::http::Client;

/// What the threads tell of their work.
pub(super) enum Told<T> {
    /// A page of a piece of work is there: its number, from 0, and its rows.
    Page(usize, usize),
    /// A piece of work is done.
    Done(usize, T),
}

/// Tells of a page: its number, from 0, and its rows.
pub(super) type Tell<'a> = &'a dyn Fn(usize, usize);

/// Does numbered pieces of work, as many at once as the client may; results are in their order. The
/// first failure ends all of it.
pub(super) fn each<T: Send>(
    client: &Client<'_>,
    pieces: usize,
    work: &(dyn Fn(usize, Tell<'_>) -> Result<T, SourceError> + Sync),
    heard: &mut dyn FnMut(&Told<T>),
) -> Result<Vec<T>, SourceError> {
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let mut done: Vec<Option<T>> = (0..pieces).map(|_| None).collect();
    let mut failed = None;
    std::thread::scope(|scope| {
        let worker = |send: mpsc::Sender<Result<Told<T>, SourceError>>| {
            let next = &next;
            move || {
                loop {
                    let piece = next.fetch_add(1, Ordering::Relaxed);
                    if piece >= pieces {
                        break;
                    }
                    // Nobody hears only after a failure.
                    let page = |number, rows| drop(send.send(Ok(Told::Page(number, rows))));
                    let result = work(piece, &page);
                    let failed = result.is_err();
                    let told = result.map(|result| Told::Done(piece, result));
                    if send.send(told).is_err() || failed {
                        // In this order, so that the failure is heard before those it causes.
                        next.store(pieces, Ordering::Relaxed);
                        client.stop();
                        break;
                    }
                }
            }
        };
        let spawn = |_: &usize| {
            let worker = worker(send.clone());
            Builder::new().spawn_scoped(scope, worker).is_ok()
        };
        let at_once = client.at_once().min(pieces);
        if at_once > 0 && (0..at_once).take_while(spawn).count() == 0 {
            // No thread is to be had: one piece after the other, heard at the end.
            worker(send.clone())();
        }
        drop(send);
        for told in receive {
            match told {
                Ok(told) => {
                    heard(&told);
                    if let Told::Done(piece, result) = told {
                        done[piece] = Some(result);
                    }
                }
                Err(error) => failed = failed.take().or(Some(error)),
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(done.into_iter().flatten().collect()),
    }
}
