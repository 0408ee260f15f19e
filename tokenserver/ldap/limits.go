package ldap

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// How much a directory may send over a connection in one use: entries, or the answer to the bind of a
// user or to StartTLS. The latter may be an attacker's on the way.
const (
	maxBytes       = 512 << 10
	maxBytesOfBind = 4 << 10
	// bytesPerElement is how many bytes there are at least for each element, on average. The decoder
	// takes some two hundred bytes of memory for an element, also if it is empty. A group has some ten
	// elements, so a thousand groups fit.
	bytesPerElement = 32
)

// limitedConn is a connection over which no more than max bytes come, and no more than a part as many
// elements of BER (X.690), of the forms that RFC 4511 section 5.1 allows. What it counts has come out
// of TLS.
type limitedConn struct {
	net.Conn

	mu       sync.Mutex
	max      int
	received int
	elements int
	header   []byte // what has come of the header of an element
	skip     int    // what is still to come of the content of an element
	exceeded error
}

// allow begins a use, in which max bytes may come.
func (c *limitedConn) allow(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max, c.received, c.elements = most, 0, 0
}

// problem returns what was wrong with what came; nil if nothing was. The LDAP library keeps errors of
// connections as text.
func (c *limitedConn) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exceeded
}

func (c *limitedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exceeded == nil {
		c.exceeded = c.count(b[:n])
	}
	if c.exceeded != nil {
		return 0, c.exceeded
	}
	return n, err
}

// count counts what has come.
func (c *limitedConn) count(b []byte) error {
	if c.received += len(b); c.received > c.max {
		return badAnswer(fmt.Sprintf("the directory has sent more than %d bytes", c.max))
	}
	for len(b) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(b))
			c.skip, b = c.skip-n, b[n:]
			continue
		}
		c.header, b = append(c.header, b[0]), b[1:]
		length, isWhole, err := parseHeader(c.header)
		if err != nil {
			return err
		}
		if !isWhole {
			continue
		}
		const sequence, constructed = 0x30, 0x20
		if c.elements == 0 && c.header[0] != sequence { // each message is one
			return badAnswer("what is at the port answers, but not in LDAP")
		}
		if c.header[0]&constructed == 0 {
			c.skip = length
		}
		c.header = c.header[:0]
		if c.elements++; c.elements > c.max/bytesPerElement {
			return badAnswer(fmt.Sprintf("the directory has sent more than %d elements", c.max/bytesPerElement))
		}
	}
	return nil
}

// parseHeader returns the length of the content of an element; isWhole is false if more of the header
// is to come.
func parseHeader(header []byte) (length int, isWhole bool, err error) {
	const longTag, longLength, maxLengthBytes = 0x1f, 0x80, 4
	if header[0]&longTag == longTag {
		return 0, false, badAnswer("what is at the port answers, but not in LDAP")
	}
	if len(header) == 1 {
		return 0, false, nil
	}
	if header[1] < longLength {
		return int(header[1]), true, nil
	}
	bytes := int(header[1] - longLength)
	if bytes == 0 || bytes > maxLengthBytes {
		return 0, false, badAnswer("what is at the port answers, but not in LDAP")
	}
	for _, b := range header[2:] {
		length = length<<8 | int(b)
	}
	return length, len(header) == 2+bytes, nil
}

func badAnswer(text string) error { return fetch.NewError(fetch.BadAnswer, errors.New(text)) }
