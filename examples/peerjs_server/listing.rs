//! The list of the clients of all machines, which many may ask for at once. It is made by one of them at a time, because making it
//! takes time of the cluster's thread and of this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a list is used.
const AGE: Duration = Duration::from_secs(1);

/// The last list.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    last: Mutex<Option<(Instant, Arc<str>)>>,
    /// Held by the caller that makes a list.
    making: tokio::sync::Mutex<()>,
}

impl Listing {
    /// Returns the last list if it is younger than [`AGE`], or if another caller is making one. Otherwise makes one. While there is
    /// no list at all, callers wait for the first one.
    pub(crate) async fn get(&self, make: impl Future<Output = Arc<str>>) -> Arc<str> {
        let fresh = || self.last(|made| made.elapsed() < AGE);
        if let Some(text) = fresh() {
            return text;
        }
        let _making = match self.making.try_lock() {
            Ok(making) => making,
            Err(_) => match self.last(|_| true) {
                Some(text) => return text,
                None => self.making.lock().await,
            },
        };
        if let Some(text) = fresh() {
            return text; // It was made meanwhile.
        }
        let text = make.await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&text)));
        text
    }

    fn last(&self, is_good: impl FnOnce(&Instant) -> bool) -> Option<Arc<str>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(made, _)| is_good(made)).map(|(_, text)| Arc::clone(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::Poll;

    /// Runs without a time limit of its own: nothing here waits for time.
    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    async fn is_pending<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[test]
    fn of_many_who_ask_at_once_one_makes_the_list() {
        let (listing, made) = (Listing::default(), Cell::new(0));
        let make = async || {
            made.set(made.get() + 1);
            tokio::task::yield_now().await;
            Arc::from(format!("list {}", made.get()))
        };
        run(async {
            // Without an old list all wait for the first one.
            let lists = futures_util::future::join_all((0..100).map(|_| listing.get(make()))).await;
            assert!(lists.iter().all(|list| &**list == "list 1"), "{lists:?}");
            // With an old one only who makes the next one waits.
            if let Some((time, _)) = &mut *listing.last.lock().unwrap() {
                *time -= AGE;
            }
            let mut maker = Box::pin(listing.get(make()));
            assert!(is_pending(&mut maker).await);
            for _ in 0..100 {
                assert_eq!(&*listing.get(make()).await, "list 1");
            }
            assert_eq!(&*maker.await, "list 2");
        });
        assert_eq!(made.get(), 2);
    }

    #[test]
    fn a_maker_that_gives_up_leaves_the_work_to_the_next_one() {
        let listing = Listing::default();
        run(async {
            let mut gone = Box::pin(listing.get(std::future::pending()));
            assert!(is_pending(&mut gone).await);
            let mut next = Box::pin(listing.get(async { Arc::from("made") }));
            assert!(is_pending(&mut next).await);
            drop(gone);
            assert_eq!(&*next.await, "made");
        });
    }
}
