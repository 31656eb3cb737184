//go:build corelane_stub || !cgo

package corelane

import "time"

const stub = true

type routerHandle struct{}

func startRouter(string, []string) (routerHandle, error) {
	return routerHandle{}, noRouter()
}

func noRouter() error {
	return &Error{Code: CodeUnsupported, Message: "this program was built with the tag corelane_stub: it contains no router"}
}

// No router exists in a stub build, so nobody can reach these.
func (routerHandle) drain() error                        { return ErrUnsupported }
func (routerHandle) requestStop() error                  { return ErrUnsupported }
func (routerHandle) release() error                      { return ErrUnsupported }
func (routerHandle) stop(time.Duration) error            { return ErrUnsupported }
func (routerHandle) setActiveWorkers(int) error          { return ErrUnsupported }
func (routerHandle) isTask(string, string) (bool, error) { return false, ErrUnsupported }
func (routerHandle) prometheus() (string, error)         { return "", ErrUnsupported }

// clusterHandle does not exist: see Stub.
type clusterHandle struct{}
type claimHandle struct{}

func (routerHandle) joinCluster(*ClusterOptions) (clusterHandle, error) {
	return clusterHandle{}, ErrUnsupported
}
func (clusterHandle) claim(string, string, uint64) (claimHandle, error) {
	return claimHandle{}, ErrUnsupported
}
func (clusterHandle) releaseClaim(claimHandle) error { return ErrUnsupported }
func (clusterHandle) next() (clusterEvent, error)    { return clusterEvent{}, ErrUnsupported }
func (clusterHandle) status() (string, error)        { return "", ErrUnsupported }
func (clusterHandle) isJoined() bool                 { return false }
func (clusterHandle) drain() error                   { return ErrUnsupported }
func (clusterHandle) release() error                 { return nil }
func (clusterHandle) names(int, time.Duration) (string, error) {
	return "", ErrUnsupported
}

func libraryVersion() uint32 { return 0 }

// buildTag is the tag of this build.
const buildTag = "corelane_stub"
