//! Who gets which answer, and when.

use std::time::Duration;

use redis::Value;

use super::*;

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// A queue whose deadlines are kept.
fn kept() -> Arc<Queue<u32>> {
    let queue = Arc::new(Queue::new(4));
    let keeper = Arc::clone(&queue);
    tokio::spawn(async move { keeper.keep_deadlines().await });
    queue
}

fn payloads(batch: &[Member<u32>]) -> Vec<u32> {
    batch.iter().map(|member| member.payload).collect()
}

#[tokio::test(start_paused = true)]
async fn members_come_out_in_order_and_no_more_than_the_limit() {
    let queue = kept();
    let _answers: Vec<_> = (0..5).map(|number| queue.push(number, after(100))).collect();
    let mut batch = Vec::new();
    queue.next(&mut batch, 3).await;
    assert_eq!(payloads(&batch), [0, 1, 2]);
    queue.next(&mut batch, 3).await;
    assert_eq!(payloads(&batch), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_ready_join_the_batch_of_the_first() {
    let queue = kept();
    let sending = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            let mut batch = Vec::new();
            queue.next(&mut batch, 10).await;
            payloads(&batch)
        }
    });
    after_ready_tasks().await;
    let _first = queue.push(0, after(100));
    // These are ready only when the loop has been woken.
    for number in 1..5 {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.push(number, after(100)).await });
    }
    assert_eq!(sending.await.expect("no panic"), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_queued_at_its_deadline_is_told_and_never_taken() {
    let queue = kept();
    let began = Instant::now();
    let late = queue.push(1, after(300));
    // An earlier deadline than those that stand is kept, too.
    let later = queue.push(2, after(50));
    for (answer, millis) in [(later, 50), (late, 300)] {
        let error = answer.await.expect_err("late");
        assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::NotSent));
        assert!(began.elapsed() >= Duration::from_millis(millis));
        assert!(began.elapsed() < Duration::from_millis(millis + 10), "{:?}", began.elapsed());
    }
    let _wanted = queue.push(3, after(100));
    let mut batch = Vec::new();
    queue.next(&mut batch, 10).await;
    assert_eq!(payloads(&batch), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_member_on_the_wire_is_told_at_its_own_deadline_and_the_others_wait_on() {
    let queue = kept();
    let began = Instant::now();
    let (hasty, patient) = (queue.push(1, after(50)), queue.push(2, after(500)));
    let mut batch = Vec::new();
    assert_eq!(queue.next(&mut batch, 10).await, began + Duration::from_millis(500));
    let exchange = async {
        in_time(&batch, tokio::time::sleep(Duration::from_millis(200))).await;
        batch.drain(..).for_each(|member| member.answer(Ok(Value::Okay)));
    };
    let told = async {
        let error = hasty.await.expect_err("late");
        (error, began.elapsed())
    };
    let ((error, elapsed), answer, ()) = tokio::join!(told, patient, exchange);
    assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, Class::Ambiguous));
    assert!(elapsed < Duration::from_millis(60), "{elapsed:?}");
    assert_eq!(answer.expect("in time"), Value::Okay);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_answer_takes_its_member_back() {
    let queue = kept();
    drop(queue.push(1, after(100)));
    let _wanted = queue.push(2, after(100));
    let mut batch = Vec::new();
    queue.next(&mut batch, 10).await;
    assert_eq!(payloads(&batch), [2]);
}

#[tokio::test(start_paused = true)]
async fn members_whose_callers_have_gone_do_not_pile_up() {
    let queue = kept();
    let wanted: Vec<_> = (0..4).map(|number| queue.push(number, after(100))).collect();
    for number in 4..1000 {
        drop(queue.push(number, after(100)));
        assert!(queue.waiting.lock().members.len() <= 8);
    }
    let mut batch = Vec::new();
    queue.next(&mut batch, 10).await;
    assert_eq!(payloads(&batch), [0, 1, 2, 3]);
    drop(wanted);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_dropped_tells_its_caller() {
    let queue = kept();
    let answer = queue.push(1, after(100));
    let mut batch = Vec::new();
    queue.next(&mut batch, 10).await;
    batch.clear();
    let error = answer.await.expect_err("nobody sends it");
    assert_eq!((error.kind(), error.class()), (ErrorKind::Closed, Class::Ambiguous));
}
