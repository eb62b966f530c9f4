package api

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// A crowd is the open connections of one listener. When there are many, it
// closes those that rest, the longest first: clients that keep connections for
// later must not keep out those who ask now.
type crowd struct {
	many int // from here on, resting connections are closed

	mu      sync.Mutex
	open    map[net.Conn]*list.Element // its place among the resting; nil while it is answered
	resting *list.List                 // of net.Conn, the longest first
}

func newCrowd(many int) *crowd {
	return &crowd{many: many, open: map[net.Conn]*list.Element{}, resting: list.New()}
}

// watch is the ConnState of a server.
func (c *crowd) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place, known := c.open[conn]; known && place != nil {
		c.resting.Remove(place)
	} else if !known && state != http.StateNew {
		return // the last words of a connection that was closed here
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.open[conn] = c.resting.PushBack(conn)
		c.thin()
	case http.StateActive:
		c.open[conn] = nil
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

// thin closes the longest resting connections while there are too many, but not
// the one that has come just now.
func (c *crowd) thin() {
	for len(c.open) > c.many && c.resting.Len() > 1 {
		conn, _ := c.resting.Remove(c.resting.Front()).(net.Conn)
		delete(c.open, conn)
		hangUp(conn)
	}
}

// hangUp closes a connection without a word: the farewell of TLS could wait for
// a client that does not read.
func hangUp(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close() // there is nobody to tell
}
