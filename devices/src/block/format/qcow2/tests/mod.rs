//! qcow2 images, made by the library and by hand.

mod arbitrary;
mod bad_images;
mod crash;
mod ground;
mod killed;
mod requests;
mod space;
