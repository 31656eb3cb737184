//! Answers: a whole body, compressed if the client accepts that, or a stream of events.

use super::events::Stream;
use super::negotiate::accepts_gzip;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) const JSON: &str = "application/json; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Bodies from this size on are worth compressing.
const LARGE: usize = 1024;

pub(super) type Answer = Response<Body>;

/// The body of an answer.
pub(super) enum Body {
    /// `None` once it is sent.
    Whole(Option<Bytes>),
    Events(Stream),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Events(stream) => stream.poll(context),
        };
        data.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// An answer with a content type. Hyper adds the length, and omits the body for HEAD.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let body: Bytes = body.into();
    with_body(status, content_type, Body::Whole(Some(body).filter(|body| !body.is_empty())))
}

/// An answer of plain text.
pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, PLAIN, body)
}

pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_TYPE, content_type);
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

pub(super) fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Compresses a large body, if the request accepts that.
pub(super) fn compressed(mut answer: Answer, request: &HeaderMap) -> Answer {
    let Body::Whole(Some(bytes)) = answer.body() else { return answer };
    if bytes.len() < LARGE {
        return answer;
    }
    set(&mut answer, header::VARY, "Accept, Accept-Encoding");
    if !accepts_gzip(request) {
        return answer;
    }
    let Body::Whole(Some(bytes)) = answer.body() else { return answer };
    // The fastest level: the texts repeat themselves so much that it is a tenth already.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    // Writing into memory does not fail.
    if let Ok(written) = written {
        *answer.body_mut() = Body::Whole(Some(written.into()));
        set(&mut answer, header::CONTENT_ENCODING, "gzip");
    }
    answer
}
