//! The receiver against stores and queues in memory: its answers, its promises, its faults.

#[cfg(test)]
mod bodies;
mod claims;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod events;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod world;
