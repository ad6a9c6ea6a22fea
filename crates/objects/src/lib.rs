//! The object vocabulary: Kubernetes and Gateway API types, quantities, selectors, patches, schemas, the support table. Does no I/O.
