// Goroutines over threads, preemption signals, a signal handler, a child process: what Go's runtime needs of a kernel.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	results := make(chan int)
	var group sync.WaitGroup
	for i := 0; i < 1000; i++ {
		group.Add(1)
		go func(n int) { defer group.Done(); results <- n }(i)
	}
	go func() { group.Wait(); close(results) }()
	sum := 0
	for n := range results {
		sum += n
	}
	fmt.Println(sum)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal", <-signals)
	out, err := exec.Command("/bin/echo", "child").Output()
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(out))
}
