//! Adds a note that a service has for a text: `HOST:PORT/WORD` is asked for, over HTTP.

#[cfg(cofferdam_guest)]
mod guest {
    wit_bindgen::generate!({ world: "text-filter", path: "wit" });

    use exports::acme::text::filter::{Description, Guest, Problem};
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
    use wasip2::io::streams::StreamError;

    struct Fetch;

    fn get(authority: &str, path: &str) -> Result<String, String> {
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&Scheme::Http)).map_err(|()| "a scheme that is none")?;
        request.set_authority(Some(authority)).map_err(|()| "a host that is none")?;
        request.set_path_with_query(Some(path)).map_err(|()| "a path that is none")?;
        let answer = handle(request, None).map_err(|error| format!("{error:?}"))?;
        answer.subscribe().block();
        let answer = answer.get().ok_or("no answer")?.map_err(|()| "no answer")?;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let body = answer.consume().map_err(|()| "no body")?;
        let stream = body.stream().map_err(|()| "no body")?;
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(4096) {
                Ok(more) => bytes.extend(more),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
            }
        }
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }

    impl Guest for Fetch {
        fn about() -> Description {
            Description { name: "fetch".to_owned(), vendor: "Netting & Sons".to_owned() }
        }

        fn transform(text: String) -> Result<String, Problem> {
            let (authority, word) = text.split_once('/').ok_or(Problem::NotForMe)?;
            let note = get(authority, &format!("/{word}")).map_err(Problem::Failed)?;
            Ok(format!("{word}: {note}"))
        }
    }

    export!(Fetch);
}
