package registrytest

import (
	"net/http"
	"time"
)

// Client is for requests of the tests themselves, each on a connection of its own.
// [http.DefaultClient] is not: [net/http/httptest.Server.Close] closes the idle
// connections of the default transport, and a request of a test beside it that has
// just been given one of them fails.
//
// A body that is sent with "Expect: 100-continue" waits until it is asked for.
var Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Hour}}
