package corelane

// Code is a status of the C interface: negative for a failure. A number is never reused.
type Code int32

// The statuses of include/corelane.h.
const (
	CodeOK             Code = 0
	CodeAgain          Code = -1
	CodeFull           Code = -2
	CodeNull           Code = -10
	CodeInvalid        Code = -11
	CodeTooLarge       Code = -12
	CodeNotFound       Code = -13
	CodeStale          Code = -14
	CodeExists         Code = -15
	CodeLimit          Code = -16
	CodeState          Code = -17
	CodeBusy           Code = -18
	CodeTimeout        Code = -19
	CodeClosed         Code = -20
	CodeThread         Code = -21
	CodeForked         Code = -22
	CodeABI            Code = -23
	CodeConfigKey      Code = -24
	CodeConfigValue    Code = -25
	CodeNoMemory       Code = -26
	CodeSystem         Code = -27
	CodeUnsupported    Code = -28
	CodeCorrupt        Code = -29
	CodePanic          Code = -30
	CodeTimeoutStarted Code = -31
	CodeRateLimited    Code = -32
	CodeInFlight       Code = -33
	CodeConcurrency    Code = -34
	CodePayloads       Code = -35
	CodeFailed         Code = -36
	CodeUnavailable    Code = -37
	CodeFenced         Code = -38
)

// The errors to compare with by errors.Is. Each stands for one status, whatever the text of the error is.
var (
	// ErrAgain: nothing to read. Not a failure.
	ErrAgain = &Error{Code: CodeAgain}
	// ErrFull: the ring has no room. Wait, then retry the message or drop it. Not a failure.
	ErrFull = &Error{Code: CodeFull}
	// ErrNull: a required argument is missing.
	ErrNull = &Error{Code: CodeNull}
	// ErrInvalid: an argument is not valid.
	ErrInvalid = &Error{Code: CodeInvalid}
	// ErrTooLarge: the message is larger than `max_message`, or does not fit a ring.
	ErrTooLarge = &Error{Code: CodeTooLarge}
	// ErrNotFound: nothing has this name or number.
	ErrNotFound = &Error{Code: CodeNotFound}
	// ErrStale: the object was closed, or the client is not connected.
	ErrStale = &Error{Code: CodeStale}
	// ErrNameTaken: a client with this name is connected, or a rule of this name exists.
	ErrNameTaken = &Error{Code: CodeExists}
	// ErrExists is ErrNameTaken, for things that are no clients.
	ErrExists = ErrNameTaken
	// ErrTaken is ErrNameTaken, for names in a cluster.
	ErrTaken = ErrNameTaken
	// ErrLimit: a limit of the configuration or of the process is reached. The text says which.
	ErrLimit = &Error{Code: CodeLimit}
	// ErrState: not possible in the present state of the router, lane or monitor.
	ErrState = &Error{Code: CodeState}
	// ErrBusy: another goroutine is inside a call that only one may make, or a name cannot be claimed now.
	ErrBusy = &Error{Code: CodeBusy}
	// ErrTimeout: the time-out expired first.
	ErrTimeout = &Error{Code: CodeTimeout}
	// ErrClosed: the router or the cluster is draining or has stopped.
	ErrClosed = &Error{Code: CodeClosed}
	// ErrThread: the call would wait for its own thread.
	ErrThread = &Error{Code: CodeThread}
	// ErrForked: this process is a child of fork, and has none of the library's threads.
	ErrForked = &Error{Code: CodeForked}
	// ErrABI: the package and the library are of different versions.
	ErrABI = &Error{Code: CodeABI}
	// ErrConfigKey: no configuration key has this name. The text names the nearest keys.
	ErrConfigKey = &Error{Code: CodeConfigKey}
	// ErrConfigValue: a configuration value is not allowed, or conflicts with other values.
	ErrConfigValue = &Error{Code: CodeConfigValue}
	// ErrNoMemory is reserved: out of memory.
	ErrNoMemory = &Error{Code: CodeNoMemory}
	// ErrSystem: the operating system refused a call. Errno has its number.
	ErrSystem = &Error{Code: CodeSystem}
	// ErrUnsupported: not available in this build or on this platform. See Stub.
	ErrUnsupported = &Error{Code: CodeUnsupported}
	// ErrCorrupt: a ring contains values that neither end can have written.
	ErrCorrupt = &Error{Code: CodeCorrupt}
	// ErrPanic: a defect in the library. Please report it.
	ErrPanic = &Error{Code: CodePanic}
	// ErrTimeoutStarted: the time-out expired while a worker was already handling the message, which may still be delivered.
	ErrTimeoutStarted = &Error{Code: CodeTimeoutStarted}
	// ErrRateLimited: the client sends more than `client_rate` messages in a second.
	ErrRateLimited = &Error{Code: CodeRateLimited}
	// ErrInFlight: the client has `max_in_flight` messages on the way.
	ErrInFlight = &Error{Code: CodeInFlight}
	// ErrConcurrency: `max_concurrent_messages` messages are on the way.
	ErrConcurrency = &Error{Code: CodeConcurrency}
	// ErrPayloads: the memory for large messages, `payload_bytes`, is in use.
	ErrPayloads = &Error{Code: CodePayloads}
	// ErrFailed: a handler's send or relay has failed.
	ErrFailed = &Error{Code: CodeFailed}
	// ErrUnavailable: the cluster does not answer. Local routing goes on.
	ErrUnavailable = &Error{Code: CodeUnavailable}
	// ErrFenced: this machine is cut off from its cluster, and owns no name until it has joined again.
	ErrFenced = &Error{Code: CodeFenced}
)

// statuses has, by code, the name in include/corelane.h and what the status means.
var statuses = map[Code][2]string{
	CodeOK:             {"CORELANE_OK", "ok"},
	CodeAgain:          {"CORELANE_AGAIN", "nothing to read"},
	CodeFull:           {"CORELANE_FULL", "the ring has no room"},
	CodeNull:           {"CORELANE_NULL", "a required argument is missing"},
	CodeInvalid:        {"CORELANE_INVALID", "an argument is not valid"},
	CodeTooLarge:       {"CORELANE_TOO_LARGE", "the message is too large"},
	CodeNotFound:       {"CORELANE_NOT_FOUND", "nothing has this name or number"},
	CodeStale:          {"CORELANE_STALE", "the object is closed, or the client is not connected"},
	CodeExists:         {"CORELANE_EXISTS", "the name is taken"},
	CodeLimit:          {"CORELANE_LIMIT", "a limit is reached"},
	CodeState:          {"CORELANE_STATE", "not possible in the present state"},
	CodeBusy:           {"CORELANE_BUSY", "in use: another thread is inside a call with this object, or a name cannot be claimed now"},
	CodeTimeout:        {"CORELANE_TIMEOUT", "the time-out expired first"},
	CodeClosed:         {"CORELANE_CLOSED", "the router or the cluster is draining or has stopped"},
	CodeThread:         {"CORELANE_THREAD", "this thread must not make this call"},
	CodeForked:         {"CORELANE_FORKED", "this process is a child of fork"},
	CodeABI:            {"CORELANE_ABI", "the package and the library are of different versions"},
	CodeConfigKey:      {"CORELANE_CONFIG_KEY", "no configuration key has this name"},
	CodeConfigValue:    {"CORELANE_CONFIG_VALUE", "a configuration value is not allowed"},
	CodeNoMemory:       {"CORELANE_NO_MEMORY", "out of memory"},
	CodeSystem:         {"CORELANE_SYSTEM", "the operating system refused a call"},
	CodeUnsupported:    {"CORELANE_UNSUPPORTED", "not available in this build"},
	CodeCorrupt:        {"CORELANE_CORRUPT", "a ring contains impossible values"},
	CodePanic:          {"CORELANE_PANIC", "a defect in the library"},
	CodeTimeoutStarted: {"CORELANE_TIMEOUT_STARTED", "the time-out expired while a worker was handling the message"},
	CodeRateLimited:    {"CORELANE_RATE_LIMITED", "the client sends too many messages in a second"},
	CodeInFlight:       {"CORELANE_IN_FLIGHT", "the client has too many messages on the way"},
	CodeConcurrency:    {"CORELANE_CONCURRENCY", "too many messages are on the way"},
	CodePayloads:       {"CORELANE_PAYLOADS", "the memory for large messages is in use"},
	CodeFailed:         {"CORELANE_FAILED", "a handler's send or relay has failed"},
	CodeUnavailable:    {"CORELANE_UNAVAILABLE", "the cluster does not answer"},
	CodeFenced:         {"CORELANE_FENCED", "this machine is cut off from its cluster"},
}

// String returns the name of the status in include/corelane.h.
func (c Code) String() string {
	if status, known := statuses[c]; known {
		return status[0]
	}
	if c > 0 {
		return statuses[CodeOK][0]
	}
	return "CORELANE_UNKNOWN"
}
