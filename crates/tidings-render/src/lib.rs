//! Templates in, content out: subject lines, HTML and text mail, short messages.
//!
//! The crate touches nothing at run time: built-in templates are embedded, and there is no clock, network,
//! environment or file access. A [`TemplateSource`] is compiled once ([`compile`]): parsed, checked, MJML turned
//! into HTML, wrapped in the layout, CSS inlined, the text part derived. [`CompiledTemplate::render`] then only
//! fills in values. Values are data: they are escaped for the place they stand in and never read as template code.

mod brand;
mod builtin;
mod color;
mod compose;
mod engine;
mod filters;
mod links;
mod locale;
mod markup;
pub mod message_types;
mod place;
mod plain;
mod render;
pub mod sample;
mod segments;
mod template;
mod validate;
mod values;
mod whatsapp;

pub use brand::Brand;
pub use builtin::{BuiltinTemplate, Confirmation, builtin, builtins, keyword_confirmation};
pub use color::{Color, ColorError};
pub use message_types::MessageTypeInfo;
pub use render::{
    Direct, MAX_SHORT_CHARS, MAX_SUBJECT_CHARS, RenderContext, RenderError, Rendered, render_direct,
};
pub use segments::RESERVED_NAMES;
pub use template::{CompiledTemplate, Format, Part, TemplateError, TemplateSource, compile};
pub use whatsapp::{
    ButtonBinding, ButtonWord, HeaderBinding, HeaderKind, RenderedHeader, RenderedWhatsapp, WhatsappBinding,
};
