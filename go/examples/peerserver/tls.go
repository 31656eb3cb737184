package main

// TLS: the key and the certificate chain, read at the start and again when their files change. Existing connections keep
// their certificate. If the new files cannot be used, the old ones stay in use.

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificate is the certificate for new connections.
type certificate struct {
	keyFile, chainFile string
	config             *tls.Config
	present            atomic.Pointer[tls.Certificate]
	lock               sync.Mutex
	seen               [2]fileState
	looked             time.Time
}

// fileState tells whether a file has changed.
type fileState struct {
	modified time.Time
	size     int64
}

func stateOf(file string) fileState {
	info, err := os.Stat(file)
	if err != nil {
		return fileState{}
	}
	return fileState{info.ModTime(), info.Size()}
}

func loadCertificate(keyFile, chainFile string) (*certificate, error) {
	c := &certificate{keyFile: keyFile, chainFile: chainFile}
	c.seen = [2]fileState{stateOf(keyFile), stateOf(chainFile)}
	read, err := c.read()
	if err != nil {
		return nil, misuse{err.Error()}
	}
	c.present.Store(read)
	c.config = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.present.Load(), nil },
		NextProtos:     []string{"http/1.1"},
		MinVersion:     tls.VersionTLS12,
	}
	return c, nil
}

func (c *certificate) read() (*tls.Certificate, error) {
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--sslkey %s: %w", c.keyFile, err)
	}
	chain, err := os.ReadFile(c.chainFile)
	if err != nil {
		return nil, fmt.Errorf("--sslcert %s: %w", c.chainFile, err)
	}
	if bytes.Contains(key, []byte("ENCRYPTED")) {
		return nil, fmt.Errorf("--sslkey %s: the key is encrypted, and the server does not ask for a passphrase; decrypt "+
			"the key first: openssl pkey -in KEY -out PLAIN", c.keyFile)
	}
	if block, _ := pem.Decode(key); block == nil {
		return nil, fmt.Errorf("--sslkey %s: no private key in PEM form", c.keyFile)
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, fmt.Errorf("--sslcert %s: no certificate in PEM form", c.chainFile)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("--sslcert %s: %w", c.chainFile, err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("--sslcert %s: does not match the key of --sslkey: %w", c.chainFile, err)
	}
	return &pair, nil
}

// refresh reads the files again if they have changed, or in any case.
func (c *certificate) refresh(always bool) {
	if c == nil {
		return
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if !always && time.Since(c.looked) < time.Second {
		return
	}
	c.looked = time.Now()
	now := [2]fileState{stateOf(c.keyFile), stateOf(c.chainFile)}
	if now == c.seen && !always {
		return
	}
	// First, so that unusable files are reported once, until the next change.
	c.seen = now
	read, err := c.read()
	if err != nil {
		slog.Error("cannot reload key and certificate; the old ones stay in use", "error", err)
		return
	}
	c.present.Store(read)
	slog.Info("reloaded key and certificate; new connections use them")
}
