package client_test

import (
	"context"
	"log"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// One of several programs leads. Whatever it changes under the lock's context is refused once another may lead.
func ExampleClient_LockPaths() {
	ctx := context.Background()
	c, err := client.Open(ctx, client.Options{Masters: []string{"127.0.0.1:7400"}, Name: "example"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	lock, err := c.LockPaths(ctx, granary.Cred{}, granary.AcquirePaths{
		Paths:     []granary.LockPath{{Base: granary.RootInode, Path: "svc/leader"}},
		Exclusive: true, Wait: true, TTL: granary.Time(10 * time.Second),
	})
	if err != nil {
		log.Fatal(err)
	}
	leading, cancel := lock.Context(ctx) // ends when the lock is lost, and carries its token
	defer cancel()
	_, err = c.Do(leading, granary.Cred{}, &granary.Create{
		Parent: granary.RootInode, Name: "svc/who", Type: granary.TypeRegular, MakeParents: true, Replace: true,
		Content: &granary.Content{Inline: []byte("me")},
	})
	switch {
	case granary.IsKind(err, granary.KindFenced):
		log.Print("another leads by now: ", lock.Err())
	case err != nil:
		log.Print(err)
	}
	if err := lock.Release(ctx); err != nil {
		log.Print(err)
	}
}

// A mutation that carries a token, which some other program may have got and handed on.
func ExampleWithFences() {
	var c *client.Client // of client.Open
	token := granary.FencingToken(18)
	_, err := c.Do(client.WithFences(context.Background(), token), granary.Cred{}, &granary.Unlink{Parent: granary.RootInode, Name: "old"})
	if granary.IsKind(err, granary.KindFenced) {
		log.Print("the lock is lost")
	}
}
