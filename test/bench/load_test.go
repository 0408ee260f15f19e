package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// workers is how many connections a load has, each with one request at a time.
const workers = 8

// connection is a kept-alive connection. It costs little, so that on two cores the server has one
// for itself.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

func dial(address string) (*connection, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReader(c)}, nil
}

// answer is what matters of one.
type answer struct {
	status   int
	location string
	body     []byte
}

// send sends a request and reads the response.
func (l *connection) send(request []byte) (answer, error) {
	if _, err := l.Write(request); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("Location"), body}, errors.Join(err, response.Body.Close())
}

// sendExpecting is send, and returns an error if the status is another one.
func (l *connection) sendExpecting(status int, request []byte) (answer, error) {
	a, err := l.send(request)
	if err == nil && a.status != status {
		err = fmt.Errorf("answered %d %s", a.status, a.body)
	}
	return a, err
}

// post is a request as a client's HTTP library sends it. A client that authenticates in the form has
// no authorization.
func post(address, path, authorization string, form url.Values) []byte {
	if authorization != "" {
		authorization = "Authorization: " + authorization + "\r\n"
	}
	return postWith(address, path, form, authorization)
}

// postWith is a request with more header fields, each with its end of line.
func postWith(address, path string, form url.Values, headers string) []byte {
	body := form.Encode()
	return []byte("POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n" + headers +
		"Content-Type: application/x-www-form-urlencoded\r\nAccept-Encoding: gzip\r\n\r\n" + body)
}

// get is a request as a browser sends it.
func get(address, target, cookies string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: " + address + "\r\nAccept: text/html\r\nCookie: " + cookies + "\r\n\r\n")
}

// step is the i-th thing that a worker does.
type step func(l *connection, worker, i int) error

// load lets every worker do so many steps, each worker on a connection of its own.
func load(b *testing.B, address string, each int, do step) {
	b.Helper()
	onConnections(b, address, workers, func(l *connection, worker int) error { return times(each, l, worker, do) })
}

// times does so many steps on one connection.
func times(n int, l *connection, worker int, do step) error {
	for i := range n {
		if err := do(l, worker, i); err != nil {
			return err
		}
	}
	return nil
}

// onConnections runs do on each of so many connections, and fails the benchmark if one fails.
func onConnections(b testing.TB, address string, connections int, do func(l *connection, worker int) error) {
	b.Helper()
	var all sync.WaitGroup
	failed := make(chan error, connections)
	for worker := range connections {
		all.Go(func() {
			l, err := dial(address)
			if err == nil {
				defer func() { _ = l.Close() }()
				err = do(l, worker)
			}
			if err != nil {
				failed <- err
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		b.Fatalf("%v\nlogs:\n%s", err, tail())
	default:
	}
}

// repeat is a step that sends the same request.
func repeat(request []byte) step { return expect(http.StatusOK, request) }

// expect is a step that sends the same request, and fails if the status is another one.
func expect(status int, request []byte) step {
	return func(l *connection, _, _ int) error {
		_, err := l.sendExpecting(status, request)
		return err
	}
}

func hostOf(issuer string) string { return strings.TrimPrefix(issuer, "http://") }
