//! The traits of builders, machines, provisioners and stores, and the runner that walks a plan.
