//! The queues in C++ (`peers.cpp`), in a library that is loaded at run time, so that the benchmark builds and runs
//! without it.

use super::{Queue, TAKEN};
use std::ffi::{CString, c_void};
use std::sync::Arc;

type Receive = unsafe extern "C" fn(*mut c_void, usize, *mut u64) -> usize;
type Send = unsafe extern "C" fn(*mut c_void, *const u8, usize) -> usize;

/// One kind of queue for messages of one size.
struct Library {
    new: unsafe extern "C" fn(usize) -> *mut c_void,
    delete: unsafe extern "C" fn(*mut c_void),
    send: Send,
    receive: Receive,
}

impl Library {
    /// Finds the functions for the kind `name` and messages of `size` bytes.
    ///
    /// # Errors
    /// The reason why the library cannot be loaded.
    fn load(name: &str, size: usize) -> Result<Self, String> {
        let path = crate::built("queues.so");
        let c_path = CString::new(path.to_string_lossy().into_owned()).unwrap();
        // SAFETY: the library is ours, has no initializers, and is never unloaded.
        let handle = unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return Err(format!("{} cannot be loaded: it needs g++ and `make deps`", path.display()));
        }
        let find = |function: &str| {
            let symbol = CString::new(format!("{name}_{size}_{function}")).unwrap();
            // SAFETY: the handle is open, and the name ends with a zero.
            let found = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
            assert!(!found.is_null(), "{symbol:?} is missing");
            found
        };
        // SAFETY: the functions of these names have these signatures in peers.cpp.
        unsafe {
            Ok(Self {
                new: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(usize) -> *mut c_void>(find(
                    "new",
                )),
                delete: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(find("delete")),
                send: std::mem::transmute::<*mut c_void, Send>(find("send")),
                receive: std::mem::transmute::<*mut c_void, Receive>(find("receive")),
            })
        }
    }
}

struct Handle {
    library: Library,
    queue: *mut c_void,
}

// SAFETY: the queue is used by one sender and one receiver at a time, which its own threads may be, and is deleted
// when both have gone.
unsafe impl std::marker::Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: `queue` comes from `new` of the same library, and no end is left.
        unsafe { (self.library.delete)(self.queue) };
    }
}

/// One end of a queue. `N` is the size of the messages that the library was loaded for.
pub struct End<const N: usize>(Arc<Handle>);

fn make<const N: usize>(name: &str, slots: usize) -> (End<N>, End<N>) {
    let library = Library::load(name, N).expect("loaded before");
    // SAFETY: the function takes any number of slots.
    let queue = unsafe { (library.new)(slots) };
    let queue = Arc::new(Handle { library, queue });
    (End(Arc::clone(&queue)), End(queue))
}

impl<const N: usize> End<N> {
    #[inline]
    fn send(&mut self, messages: &[[u8; N]]) -> usize {
        // SAFETY: `messages` has that many messages of N bytes, and this is the only sender.
        unsafe { (self.0.library.send)(self.0.queue, messages.as_ptr().cast(), messages.len()) }
    }

    #[inline]
    fn receive(&mut self, limit: usize, sum: &mut u64) -> usize {
        // SAFETY: this is the only receiver.
        unsafe { (self.0.library.receive)(self.0.queue, limit, sum) }
    }
}

/// A queue of the library, under the name that its functions have there.
macro_rules! queue {
    ($queue:ident $library:literal $name:literal) => {
        pub struct $queue;

        impl<const N: usize> Queue<N> for $queue {
            const NAME: &'static str = $name;
            type Sender = End<N>;
            type Receiver = End<N>;

            fn available() -> Result<(), String> {
                Library::load($library, N).map(drop)
            }

            fn make(slots: usize) -> (Self::Sender, Self::Receiver) {
                make($library, slots)
            }

            #[inline]
            fn send(sender: &mut Self::Sender, messages: &[[u8; N]]) -> usize {
                sender.send(messages)
            }

            #[inline]
            fn receive(receiver: &mut Self::Receiver, sum: &mut u64) -> usize {
                receiver.receive(TAKEN, sum)
            }
        }
    };
}

queue!(Boost "boost" "Boost spsc_queue");
queue!(ReaderWriter "readerwriter" "readerwriterqueue");
