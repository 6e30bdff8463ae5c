//! What a client is told when no instance answers it: a status, one line of text, and nothing about the inside.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::ResponseBody;

/// Why there is no answer from an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    BadHost,
    NoTunnel,
    UnknownCoding,
    NoRoute,
    NoFleet,
    NoWeight,
    NoneReady,
    Refused,
    Broken,
    Nonsense,
    ConnectTimeout,
    Timeout,
    /// The client's own body broke off; nobody will read this.
    ClientGone,
}

impl Failure {
    fn status(self) -> StatusCode {
        match self {
            Self::BadHost | Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::NoTunnel => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::NoRoute | Self::NoFleet => StatusCode::NOT_FOUND,
            Self::NoWeight | Self::NoneReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused | Self::Broken | Self::Nonsense => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::BadHost => "exactly one valid Host is needed\n",
            Self::NoTunnel => "CONNECT is not served here\n",
            Self::UnknownCoding => "the only transfer coding understood here is chunked\n",
            Self::NoRoute => "no route for this host and path\n",
            Self::NoFleet => "no fleet of the release that the preview header names\n",
            Self::NoWeight => "no release takes traffic at present\n",
            Self::NoneReady => "no instance is ready\n",
            Self::Refused => "no instance accepted the connection\n",
            Self::Broken => "the instance closed the connection before it answered\n",
            Self::Nonsense => "the instance's answer could not be understood\n",
            Self::ConnectTimeout => "the instance did not accept the connection in time\n",
            Self::Timeout => "the instance did not answer in time\n",
            Self::ClientGone => "the request broke off\n",
        }
    }

    /// The answer to the client.
    pub(crate) fn response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::text(Bytes::from_static(self.text().as_bytes())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
