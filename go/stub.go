package corelane

// Stub says whether the program was built with the tag corelane_stub: without the library and without cgo.
//
// In such a build nothing is measured and nothing is routed:
//
//   - A [Monitor] starts, accepts every call and keeps nothing. Its figures are zero, its reports are empty, and its alerts
//     never come.
//   - A [Router] does not start: [Start] returns [ErrUnsupported], so that no message is lost silently. A program that has
//     another path asks Stub first.
//
// A program can contain the calls before it depends on the library.
const Stub = stub
