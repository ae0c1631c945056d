//! Its place; made with code generation.
