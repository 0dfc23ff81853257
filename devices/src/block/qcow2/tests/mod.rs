//! qcow2 images, made by the library and by hand.

mod bad_images;
mod ground;
mod killed;
mod requests;
mod space;
