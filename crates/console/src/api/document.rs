//! The OpenAPI document: its frame, and what is the same for all operations.

use utoipa::{
    OpenApi as _, PartialSchema as _, ToSchema as _,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, Info, Object, OpenApi, OpenApiBuilder, PathItem, Ref,
        RefOr, ResponseBuilder, SecurityRequirement,
        path::{Operation, ParameterBuilder, ParameterIn},
        schema::Type,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::error::{PROBLEM_JSON, ProblemDetails};

/// The document that describes the API, as it was when the function was built.
pub(crate) const KEPT: &str = include_str!("../../../../docs/openapi.json");

/// Makes the document of the operations, as it is to be kept in the repository.
///
/// # Panics
///
/// Never: the document can be written as JSON.
pub fn write() -> String {
    let mut document = frame();
    document.merge(super::Described::openapi());
    add_what_all_answer(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("a document can be written as JSON");
    text.push('\n');
    text
}

/// The frame that operations are put into.
fn frame() -> OpenApi {
    let mut components = Components::new();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API key (`pwk_…`), or a token of the issuer that this Portwarden trusts.",
        ))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::with_description(
        "__Host-portwarden",
        "The session of a browser; whatever changes something also needs the header x-csrf-token.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components
        .schemas
        .insert(ProblemDetails::name().into_owned(), ProblemDetails::schema());
    let mut info = Info::new("Portwarden", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Connects AWS accounts, and tells what is in their container images. Errors are problem details (RFC 9457) with \
         a stable code and a fix; lists come in pages; writes take an Idempotency-Key."
            .to_owned(),
    );
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([
            SecurityRequirement::new("bearer", [] as [&str; 0]),
            SecurityRequirement::new("session", [] as [&str; 0]),
        ]))
        .build()
}

/// Adds the refusals that every operation can answer with.
fn add_what_all_answer(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        add_etags(item);
        for operation in item.get.iter_mut().filter(|read| read.security.is_none()) {
            add_refusals(operation, &READS);
        }
        let writes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in writes.into_iter().flatten() {
            add_refusals(operation, &READS);
            add_refusals(operation, &WRITES);
            let key = ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .description(Some(
                    "A name of this write: sent again, it is done once and answered alike for a day",
                ))
                .schema(Some(Object::with_type(Type::String)))
                .build();
            operation.parameters.get_or_insert_default().push(key.into());
        }
    }
}

/// Says of what can be changed on condition that it carries its revision, when it is read and when it is changed.
fn add_etags(item: &mut PathItem) {
    if item.patch.is_none() {
        return;
    }
    for operation in [&mut item.get, &mut item.patch].into_iter().flatten() {
        if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
            let etag = HeaderBuilder::new()
                .schema(Some(Object::with_type(Type::String)))
                .description(Some("What was read, to be sent as If-Match with a change of it"))
                .build();
            answer.headers.insert("ETag".to_owned(), etag.into());
        }
    }
}

const READS: [(&str, &str); 6] = [
    ("400", "The request is not right."),
    ("401", "Nobody is known to ask."),
    ("403", "The caller may not do this."),
    ("404", "There is nothing like that, or it is somebody else's."),
    ("429", "The tenant asks more than its share."),
    ("503", "Something that the answer needs does not answer just now."),
];

const WRITES: [(&str, &str); 4] = [
    ("409", "The request does not fit what is there."),
    ("412", "It was changed in between."),
    ("413", "The body is too large."),
    ("415", "The body is not declared as JSON."),
];

fn add_refusals(operation: &mut Operation, refusals: &[(&str, &str)]) {
    for (status, description) in refusals {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(ProblemDetails::name())))
            .build();
        let response = ResponseBuilder::new()
            .description(*description)
            .content(PROBLEM_JSON, content)
            .build();
        let responses = &mut operation.responses.responses;
        responses
            .entry((*status).to_owned())
            .or_insert_with(|| response.into());
    }
}
