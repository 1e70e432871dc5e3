package registrytest

import "net/http"

// Client is for requests of the tests themselves, each on a connection of its own.
// [http.DefaultClient] is not: [net/http/httptest.Server.Close] closes the idle
// connections of the default transport, and a request of a test beside it that has
// just been given one of them fails.
var Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
