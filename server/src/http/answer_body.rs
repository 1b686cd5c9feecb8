//! Response bodies of written answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;

use crate::http::answer::WrittenAnswer;

/// The body of a response, sent in chunks: the socket holds back those that the client does not read yet.
struct AnswerBody {
    answer: WrittenAnswer,
    bytes: u64,
}

impl MessageBody for AnswerBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.answer.next_chunk().map(Ok))
    }
}

/// The response with this answer.
pub(crate) fn send(mut response: HttpResponseBuilder, answer: WrittenAnswer) -> HttpResponse {
    let bytes = answer.len() as u64;
    response.body(AnswerBody { answer, bytes })
}

/// The response with this answer in JSON.
pub(crate) fn send_json(answer: WrittenAnswer) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type(ContentType::json());
    send(response, answer)
}
