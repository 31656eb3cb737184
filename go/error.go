package corelane

import "syscall"

// Error is a failure of a call. Compare it with the Err values by errors.Is, which compares the codes.
type Error struct {
	// Code is the status.
	Code Code
	// Message says what is wrong and what to change. Empty if the call gave no text.
	Message string
	// Errno is the operating system's error number, or 0.
	Errno syscall.Errno
}

// Error returns the text for a log.
func (e *Error) Error() string {
	if e.Message != "" {
		return "corelane: " + e.Message
	}
	if status, known := statuses[e.Code]; known {
		return "corelane: " + status[1]
	}
	return "corelane: an unknown failure; this package is older than the library"
}

// Is says whether the target stands for the same status.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code && (other.Message == "" || other.Message == e.Message)
}

// Unwrap returns the operating system's error, if there is one.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// sentinel returns the error without a text for a status. It allocates nothing for a status that this package knows.
func sentinel(code Code) error {
	if known, ok := sentinels[code]; ok {
		return known
	}
	return &Error{Code: code}
}

var sentinels = func() map[Code]*Error {
	known := map[Code]*Error{}
	for _, one := range []*Error{
		ErrAgain, ErrFull, ErrNull, ErrInvalid, ErrTooLarge, ErrNotFound, ErrStale, ErrNameTaken, ErrLimit, ErrState, ErrBusy,
		ErrTimeout, ErrClosed, ErrThread, ErrForked, ErrABI, ErrConfigKey, ErrConfigValue, ErrNoMemory, ErrSystem,
		ErrUnsupported, ErrCorrupt, ErrPanic, ErrTimeoutStarted, ErrRateLimited, ErrInFlight, ErrConcurrency, ErrPayloads,
		ErrFailed, ErrUnavailable, ErrFenced,
	} {
		known[one.Code] = one
	}
	return known
}()
